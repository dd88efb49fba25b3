"""What the commands do: read what the user named, call the family floor, print the result."""

import json
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from signal import SIGINT
from typing import Any, Literal

import torch
from rich.console import Console

from minikin.app.checked import check_table
from minikin.app.engines import EngineName, opened
from minikin.app.members import with_siblings
from minikin.app.planned import plan_json, plan_table
from minikin.app.speakers import Speakers
from minikin.app.talk import talk
from minikin.base.device import prepare_to_answer
from minikin.base.errors import CheckpointError, DataError, DecodingError, Interrupted
from minikin.base.files import digest, read_json
from minikin.base.log import Log
from minikin.engine.asking import Engine
from minikin.engine.beam_engine import BeamEngine
from minikin.family.build import build as build_family
from minikin.family.build import evaluate as evaluate_family
from minikin.family.build import evaluate_on
from minikin.family.initial import write_initial
from minikin.family.plan import plan as plan_family
from minikin.family.quantizing import weights_of_kind
from minikin.family.reading import checked, overridden, read_recipe
from minikin.family.recipe import Recipe
from minikin.family.results import RECIPE, save_results
from minikin.measure.records import FamilyReport
from minikin.measure.report import HTML, read_report
from minikin.measure.terminal import tables
from minikin.model.checkpoint import read_config
from minikin.model.decoding import Decoding
from minikin.ship.check import Check
from minikin.ship.check import check as check_member
from minikin.ship.gguf import export, write_modelfile
from minikin.ship.types import known

_LONGEST_ANSWER = 256  # tokens, in a chat
_CHAT_TOP_P = 0.95  # where a temperature is given and nothing else is said


def build(path: Path, overrides: Sequence[str], out: Path | None) -> None:
    """`minikin build`."""
    recipe = read_recipe(path, overrides)
    root = out or Path("families") / recipe.name
    with _interruptible():
        _show(build_family(recipe, root, _log(root)), root)


def plan(path: Path, overrides: Sequence[str], form: Literal["json", "table"]) -> None:
    """`minikin plan`."""
    recipe = read_recipe(path, overrides)
    planned = plan_family(recipe)
    if form == "json":
        sys.stdout.write(json.dumps(plan_json(recipe, planned), indent=2) + "\n")
    else:
        _stdout().print(plan_table(recipe, planned))


def init(path: Path, members: Sequence[str], overrides: Sequence[str], out: Path | None, dtype: str) -> None:
    """`minikin init`."""
    recipe = read_recipe(path, overrides)
    root = out or Path("families") / f"{recipe.name}-initial"
    with _interruptible():
        written = write_initial(recipe, members, root, getattr(torch, dtype), _log(root))
    sys.stdout.write("".join(f"{folder}\n" for folder in written))


def evaluate(root: Path, overrides: Sequence[str], data: Sequence[Path], out: Path | None) -> None:
    """`minikin evaluate`."""
    recipe = _built_recipe(root, overrides)
    if out and not data:
        raise DataError(f"--out {out}: a family's own report lies in its folder; name test files as well: --data PATH")
    results = (out or root / "evaluations" / _named_after(data)) if data else root
    with _interruptible():
        log = _log(results)
        report = evaluate_on(recipe, root, data, results, log) if data else evaluate_family(recipe, root, log)
        _show(report, results)


def report(root: Path, save: Path | None) -> None:
    """`minikin report`."""
    shown = read_report(root)
    if save is not None:
        save_results(root, _built_fields(root), save)
    _show(shown, save or root)


def check(member: Path) -> None:
    """`minikin check`."""
    prepare_to_answer()
    read_config(member)  # a folder that is no member's is told at once
    made: list[Check] = []
    with Console(stderr=True).status(f"{member}: files") as status:
        for each in check_member(member):
            made.append(each)
            status.update(f"{member}: {each.where}, {each.what} {each.verdict}")
    _stdout().print(check_table(member, made))
    if failed := [each for each in made if each.verdict == "failed"]:
        first = f"{failed[0].what} in {failed[0].where}: {failed[0].found}"
        raise CheckpointError(f"{member}: {len(failed)} of {len(made)} checks failed; {first}")


def export_gguf(member: Path, kind: str, out: Path | None) -> None:
    """`minikin export gguf`."""
    read_config(member)
    ready = weights_of_kind(member, kind.lower())
    exported = export(member, out, kind.lower(), ready)
    if ready:
        sys.stderr.write(f"weights as examined in the report, from {ready}\n")
    if exported.fallbacks:
        sys.stderr.write(f"{exported.kept_larger}; the first: {exported.fallbacks[0]}\n")
    sys.stdout.write(f"{exported.path} ({exported.bytes / 1e6:,.2f} MB)\n{write_modelfile(exported)}\n")


def chat(folder: Path, seed: int, top_p: float | None, engine: EngineName, kind: str, **settings: Any) -> None:
    """`minikin chat`; settings are those of `Decoding`."""
    prepare_to_answer()
    mass = top_p or (_CHAT_TOP_P if settings["temperature"] else 1.0)
    decoding = Decoding(max_new_tokens=_LONGEST_ANSWER, top_p=mass, **settings)
    known(kind)
    if decoding.num_beams > 1 and engine == "llama.cpp":
        raise DecodingError(f"--beams {decoding.num_beams}: llama.cpp searches none; leave out --engine llama.cpp")
    members, name = with_siblings(folder)

    def answering(member: Path) -> Engine:
        if decoding.num_beams > 1:
            return BeamEngine(member, decoding.num_beams, decoding.length_penalty)
        return opened(member, engine, kind, slots=1, queue=1)

    speakers = Speakers(members, answering)
    try:
        talk(speakers, name, decoding, seed)
    finally:
        speakers.close()


@contextmanager
def _interruptible() -> Iterator[None]:
    """Say what Ctrl-C left, outside of a training, which says more itself."""
    try:
        yield
    except KeyboardInterrupt as error:
        raise Interrupted("stopped; what is complete is kept, run the same command again to go on", SIGINT) from error


def _built_recipe(root: Path, overrides: Sequence[str]) -> Recipe:
    told = " ".join((str(root / RECIPE), *(f"--set {each}" for each in overrides)))
    return checked(overridden(_built_fields(root), overrides), told)


def _built_fields(root: Path) -> dict[str, Any]:
    path = root / RECIPE
    if not path.is_file():
        raise DataError(f"{root}: is not a family that was built to its end; run minikin build first")
    return read_json(path)


def _named_after(data: Sequence[Path]) -> str:
    """A folder's name for what was examined on: those of the folders, or of files with the folders they are in.

    What else is called the same gets another name, by where it lies.
    """
    places = dict.fromkeys(path.resolve() for path in data)
    names = [
        place.name if place.is_dir() else f"{place.parent.name}-{place.name.partition('.')[0]}" for place in places
    ]
    readable = re.sub(r"[^\w.+-]+", "-", "+".join(names))[:100]
    return f"{readable}-{digest(*map(str, places))[:6]}"


def _show(report: FamilyReport, root: Path) -> None:
    _stdout().print(tables(report))
    sys.stdout.write(f"report: {(root / HTML).resolve()}\n")


def _log(root: Path) -> Log:
    return Log(root / "log.jsonl", Console(stderr=True))


def _stdout() -> Console:
    # a pipe has no width; 100 columns keep the tables whole
    return Console() if sys.stdout.isatty() else Console(width=100)
