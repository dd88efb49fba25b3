"""Builds a family: runs the stages whose artifact is not there yet, in order, and skips the others."""

import time
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

from minikin.base.device import prepare
from minikin.base.errors import CheckpointError
from minikin.base.files import verify, write_json
from minikin.base.log import Log
from minikin.family.answering import answers_name, examine_member
from minikin.family.card import write_card
from minikin.family.plan import plan
from minikin.family.recipe import Recipe
from minikin.family.results import RECIPE
from minikin.family.site import (
    Site,
    answers_key,
    data_key,
    distilled_key,
    distilled_name,
    member_key,
    written_key,
)
from minikin.family.stages import distill_first, make_member, prepare_data
from minikin.family.store import Store
from minikin.family.summary import summarize
from minikin.family.writing import write_answers
from minikin.measure.records import FamilyReport
from minikin.measure.report import write_report


def build(recipe: Recipe, out: Path, log: Log) -> FamilyReport:
    """Everything from data to report; a build that was killed goes on where it stood."""
    site = _site(recipe, out, log)
    with site.store.locked():
        _run(site, "data", data_key(site), lambda: prepare_data(site))
        for name, member in recipe.member.items():
            if member.distill is not None and member.distill.teacher_answers:
                _run(site, f"written/{name}", written_key(site, name), lambda name=name: write_answers(site, name))
            if member.on_policy is not None:
                _run(site, distilled_name(name), distilled_key(site, name), lambda name=name: distill_first(site, name))
            _run(site, name, member_key(site, name), lambda name=name: make_member(site, name))
        return _evaluated(site)


def evaluate(recipe: Recipe, out: Path, log: Log) -> FamilyReport:
    """Examine a built family and write its report; raises CheckpointError if a member is not built."""
    site = _site(recipe, out, log)
    for name in recipe.member:
        if not site.store.holds(name, member_key(site, name)):
            raise CheckpointError(f"{out / name}: is not what the recipe asks for; run minikin build first")
    with site.store.locked():
        return _evaluated(site)


def _site(recipe: Recipe, out: Path, log: Log) -> Site:
    prepare(recipe.threads or None)
    return Site(recipe=recipe, planned=plan(recipe), store=Store(out), log=log)


def _evaluated(site: Site) -> FamilyReport:
    for name, kind in product(site.recipe.member, (None, *site.recipe.measure.precisions)):
        key = answers_key(site, name, kind)
        _run(site, answers_name(name, kind), key, lambda name=name, kind=kind: examine_member(site, name, kind))
    site.log.say("report: scores, intervals, speed and memory")
    report = summarize(site)
    write_json(site.store.root / RECIPE, _portable(site.recipe))
    write_report(report, site.store.root)
    for name, member in report.members.items():
        write_card(site, name, member)
    return report


def _portable(recipe: Recipe) -> dict[str, Any]:
    """The resolved recipe, to be evaluated from whatever folder."""
    fields = recipe.model_dump(mode="json", by_alias=True)
    fields["data"]["root"] = str(Path(recipe.data.root).absolute())
    if recipe.origin and Path(recipe.origin).is_dir():
        fields["member"][recipe.first]["from"] = str(Path(recipe.origin).absolute())
    return fields


def _run(site: Site, name: str, key: str, stage: Callable[[], None]) -> None:
    if site.store.holds(name, key):
        verify(site.store.folder(name))
        site.log.say(f"{name}: is up to date")
        return
    site.log.event("stage begins", stage=name, key=key)
    started = time.monotonic()
    stage()
    seconds = time.monotonic() - started
    site.log.event("stage ends", stage=name, seconds=round(seconds, 1))
    site.log.say(f"{name}: done in {seconds:.0f} s")
