"""Checks that a member is at home everywhere: whole on disk, and the same here, in Transformers and in llama.cpp.

What cannot be looked at, because a program is not installed, says so and does not count as passed.
"""

import importlib.util
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from minikin.ship import in_llamacpp, in_transformers, looks
from minikin.ship.looks import Look, Subject

Verdict = Literal["passed", "failed", "not checked"]
# where a member is looked at, what has to be installed for it, and how
_PLACES: tuple[tuple[str, str, Sequence[Look]], ...] = (
    ("files", "minikin", looks.in_folder),
    ("minikin", "minikin", looks.in_minikin),
    ("Transformers", "transformers", in_transformers.looks),
    ("llama.cpp", "xllamacpp", in_llamacpp.looks),
)
_VERDICTS: dict[bool | None, Verdict] = {True: "passed", False: "failed", None: "not checked"}


@dataclass(frozen=True, kw_only=True)
class Check:
    """What was looked at, where, and what came of it."""

    where: str
    what: str
    verdict: Verdict
    found: str


def check(folder: Path) -> Iterator[Check]:
    """All checks of a member's folder, one by one as they are made."""
    with tempfile.TemporaryDirectory() as scratch, Subject(folder, Path(scratch)) as subject:
        for where, package, chosen in _PLACES:
            for look in chosen:
                what = look.__name__.strip("_").replace("_", " ")
                verdict, found = _made(look, subject) if importlib.util.find_spec(package) else _missing(package)
                yield Check(where=where, what=what, verdict=verdict, found=found)


def _made(look: Look, subject: Subject) -> tuple[Verdict, str]:
    try:
        good, found = look(subject)
    except Exception as error:  # noqa: BLE001  whatever another program raises at a member is what was found
        return "failed", " ".join(str(error).split()) or repr(error)
    return _VERDICTS[good], found


def _missing(package: str) -> tuple[Verdict, str]:
    return "not checked", f"{package} is not installed: pip install 'minikin[check]'"
