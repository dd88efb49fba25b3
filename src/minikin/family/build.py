"""Builds a family: runs the stages whose artifact is not there yet, in order, and skips the others."""

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

from minikin.base.device import prepare
from minikin.base.errors import CheckpointError, DataError
from minikin.base.files import read_json, verify, write_json
from minikin.base.log import Log
from minikin.family.answering import answers_name, examine_member, test_questions
from minikin.family.card import write_cards
from minikin.family.exams import brought_exams
from minikin.family.overlap import OVERLAP, compare, read_overlap, warnings
from minikin.family.plan import plan
from minikin.family.quantizing import quantize_member
from minikin.family.reading import checked
from minikin.family.recipe import Recipe
from minikin.family.results import RECIPE
from minikin.family.site import (
    Brought,
    Site,
    answers_key,
    data_key,
    distilled_key,
    distilled_name,
    member_key,
    overlap_key,
    quantized_key,
    quantized_name,
    written_key,
    written_name,
)
from minikin.family.stages import distill_first, make_member, prepare_data
from minikin.family.store import Store
from minikin.family.summary import summarize
from minikin.family.writing import write_answers
from minikin.measure.records import FamilyReport
from minikin.measure.report import write_report
from minikin.text.overlap import Overlap

_AGREE = "minikin build RECIPE makes them agree"


def build(recipe: Recipe, out: Path, log: Log) -> FamilyReport:
    """Everything from data to report; a build that was killed goes on where it stood."""
    site = _site(recipe, out, log)
    with site.store.locked():
        site.store.tidy()
        site.take_fingerprints()
        # what is wrong with a test is told before the hours of training
        deque(test_questions(recipe, site.exams), maxlen=0)
        _run(site, "data", data_key(site), lambda: prepare_data(site))
        for name, member in recipe.member.items():
            if member.distill is not None and member.distill.teacher_answers.any:
                written = written_name(site, name)
                _run(site, written, written_key(site, name), lambda name=name: write_answers(site, name))
            if member.on_policy is not None:
                _run(site, distilled_name(name), distilled_key(site, name), lambda name=name: distill_first(site, name))
            _run(site, name, member_key(site, name), lambda name=name: make_member(site, name))
        return _evaluated(site)


def evaluate(recipe: Recipe, out: Path, log: Log) -> FamilyReport:
    """Examine a built family and write its report; raises CheckpointError if it is not all of the recipe's build."""
    site = _site(recipe, out, log)
    site.take_fingerprints()
    _refuse_other_builds(site)
    with site.store.locked():
        return _evaluated(site)


def evaluate_on(recipe: Recipe, root: Path, data: Sequence[Path], out: Path, log: Log) -> FamilyReport:
    """Examine a built family on test files instead of its recipe's; answers and report go to a folder of their own.

    The family is left as it is, and what it was trained on need not be there; then it cannot be compared with the test.
    Raises DataError if a file cannot be used, CheckpointError if a member is missing or of another build than the rest.
    """
    if (out / RECIPE).is_file():
        raise DataError(f"{out}: is a family's own folder; name another for this evaluation: --out FOLDER")
    own = _site(recipe, root, log)
    keys = _as_they_are(own)
    exams = brought_exams(recipe, data, log)
    site = replace(own, brought=Brought(exams=exams, store=Store(out), keys=keys))
    _refuse_other_builds(_with_kept_recipe(site))
    _refuse_earlier_few_bits(site)
    with site.results.locked():
        _examine(site)
        files = ", ".join(exam.title for exam in exams)
        return _reported(site, {"test files": f"{files}; of each the first {recipe.measure.max_examples} at most"})


def _site(recipe: Recipe, out: Path, log: Log) -> Site:
    site = Site(recipe=recipe, planned=plan(recipe), store=Store(out), log=log)
    prepare(recipe.threads or None, site.device)
    return site


def _as_they_are(site: Site) -> dict[str, str]:
    """Keys of the data and of all members, whatever they are; raises CheckpointError if one is missing."""
    few_bits = (quantized_name(name, kind) for name, kind in product(site.recipe.member, site.recipe.quantize))
    return {name: site.store.provenance(name).get("key", "") for name in (*site.recipe.member, "data", *few_bits)}


def _with_kept_recipe(site: Site) -> Site:
    """The same under the recipe that the family was built by, whatever settings this evaluation has."""
    path = site.store.folder(RECIPE)
    kept = checked(read_json(path), str(path))
    return replace(site, recipe=kept, planned=plan(kept))


def _refuse_other_builds(site: Site) -> None:
    """Raise CheckpointError if the data or a member is not what the recipe makes of what it was made from."""
    data = data_key(site)
    for name, key in {"data": data, **{name: member_key(site, name) for name in site.recipe.member}}.items():
        facts = site.store.provenance(name)
        if facts.get("key") != key:
            same_data = facts.get("data", data) == data
            missed = (
                "the build that the recipe asks for" if same_data else f"the same build as {site.store.folder('data')}"
            )
            raise CheckpointError(f"{site.store.folder(name)}: is not of {missed}; {_AGREE}")


def _refuse_earlier_few_bits(site: Site) -> None:
    """Raise CheckpointError if a member of few bits was made of another build of the member."""
    for name, kind in product(site.recipe.member, site.recipe.quantize):
        few_bits = quantized_name(name, kind)
        if site.store.provenance(few_bits)["of"] != site.store.provenance(name)["key"]:
            raise CheckpointError(f"{site.store.folder(few_bits)}: is of an earlier {name}; {_AGREE}")


def _evaluated(site: Site) -> FamilyReport:
    for name, kind in product(site.recipe.member, site.recipe.quantize):
        key = quantized_key(site, name, kind)
        _run(site, quantized_name(name, kind), key, lambda name=name, kind=kind: quantize_member(site, name, kind))
    _examine(site)
    report = _reported(site, {})
    write_json(site.store.root / RECIPE, _portable(site.recipe))
    write_cards(site, report)
    return report


def _examine(site: Site) -> None:
    for name, kind in product(site.recipe.member, (None, *site.recipe.quantize)):
        key = answers_key(site, name, kind)
        _run(site, answers_name(name, kind), key, lambda name=name, kind=kind: examine_member(site, name, kind))


def _reported(site: Site, told: dict[str, str]) -> FamilyReport:
    overlap, problem = _overlap(site)
    for line in warnings(overlap):
        site.log.say(line)
    site.log.say("report: scores, intervals, speed and memory")
    report = summarize(site, overlap, told | problem)
    write_report(report, site.results.root)
    return report


def _overlap(site: Site) -> tuple[dict[str, Overlap], dict[str, str]]:
    """What training data has of the test; nothing, and why, if a family is examined where its training data is not."""
    try:
        _run(site, OVERLAP, overlap_key(site), lambda: compare(site))
    except DataError as error:
        if site.brought is None:
            raise
        site.log.say(f"warning: the test is not compared with the training data: {error}")
        return {}, {"overlap with the training data": f"not looked for: {error}"}
    return read_overlap(site), {}


def _portable(recipe: Recipe) -> dict[str, Any]:
    """The resolved recipe, to be evaluated from whatever folder."""
    fields = recipe.model_dump(mode="json", by_alias=True)
    fields["data"]["root"] = str(recipe.data.folder.absolute())
    if recipe.origin and Path(recipe.origin).is_dir():
        fields["member"][recipe.first]["from"] = str(Path(recipe.origin).absolute())
    return fields


def _run(site: Site, name: str, key: str, stage: Callable[[], None]) -> None:
    store = site.results  # the family's own store, unless exams were brought: then nothing else is made
    if store.holds(name, key):
        verify(store.folder(name))
        site.log.say(f"{name}: is up to date")
        return
    site.log.event("stage begins", stage=name, key=key)
    started = time.monotonic()
    stage()
    seconds = time.monotonic() - started
    site.log.event("stage ends", stage=name, seconds=round(seconds, 1))
    site.log.say(f"{name}: done in {seconds:.0f} s")
