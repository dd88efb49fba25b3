"""What members are examined on: the recipe's own tests, or whatever test files somebody brings."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from minikin.base.errors import DataError
from minikin.base.files import file_digest
from minikin.base.log import Log
from minikin.family.corpora import NamedSource
from minikin.family.recipe import Recipe
from minikin.family.supply import records_of
from minikin.text.mapping import Task, shown
from minikin.text.records import Record, Translation
from minikin.text.rows import SUFFIXES, present, rows
from minikin.text.sources import read
from minikin.text.views import reversed_direction

# told apart by the fields that a record must have; the first that fits
_SHAPES: Mapping[Task, frozenset[str]] = {
    "selection": frozenset({"context", "candidates", "answer"}),
    "dialogue": frozenset({"turns"}),
    "summarization": frozenset({"document", "summary"}),
    "translation": frozenset({"source", "target"}),
    "text": frozenset({"text"}),
}


@dataclass(frozen=True, kw_only=True)
class Exam:
    """Sources of one kind that members are examined on; `name` is the recipe's task, or the path that was brought."""

    name: str
    kind: Task
    sources: tuple[NamedSource, ...]
    both_directions: bool

    @property
    def task(self) -> Task:
        """What it scores: a response is selected in a dialogue."""
        return "dialogue" if self.kind == "selection" else self.kind

    @property
    def title(self) -> str:
        """Its name, short: of a path, the file and its folder."""
        return "/".join(Path(self.name).parts[-2:])


def own_exams(recipe: Recipe) -> tuple[Exam, ...]:
    """A task each: its selections where there are some, else its test, else nothing."""
    return tuple(
        Exam(
            name=task,
            kind="selection" if data.select else task,
            sources=tuple(data.select or data.test),
            both_directions=data.both_directions,
        )
        for task, data in recipe.data.tasks.items()
    )


def brought_exams(recipe: Recipe, paths: Sequence[Path], log: Log) -> tuple[Exam, ...]:
    """A test file each, recognised by its first record; raises DataError if there is none or one is unfit.

    Selections go before dialogues, as in recipes. Translations are asked both ways if the recipe's are, unless the file
    has both ways already. A file that the family was trained on is refused.
    """
    found: dict[Path, Task] = {file: _kind(file) for file in _once(paths, log)}
    passed: dict[Task, str] = {"text": "plain text, in which nothing is asked"}
    if "selection" in found.values():
        passed["dialogue"] = "dialogues; the selections are scored instead"
    for file in (file for file, kind in found.items() if kind in passed):
        log.say(f"{file}: passed over, {passed[found[file]]}")
    chosen: dict[Path, Task] = {file: kind for file, kind in found.items() if kind not in passed}
    if not chosen:
        raise DataError(f"{', '.join(map(str, paths))}: holds plain text only, in which nothing is asked; name a test")
    _refuse_trained_on(recipe, chosen)
    exams = [
        Exam(
            name=str(file),
            kind=kind,
            sources=(NamedSource(source=str(file)),),
            both_directions=kind == "translation" and _to_be_turned(recipe, file),
        )
        for file, kind in chosen.items()
    ]
    for exam in exams:
        log.say(f"{exam.title}: {exam.kind}{', both ways' if exam.both_directions else ''}")
    return tuple(exams)


def examples_of(recipe: Recipe, exam: Exam) -> list[tuple[str, list[Record]]]:
    """What members are scored on, the first examples of each source, with the source that they are from.

    A record and its reversal come as one list: they say the same thing, so they are one example to statistics.
    Dialogues are asked about as they are, whoever they were learned from the view of.
    """
    most = recipe.measure.max_examples
    return [
        (source.source, _both_ways(record) if exam.both_directions else [record])
        for source in exam.sources
        for record in islice(records_of(recipe, source, exam.kind, "test"), most)
    ]


def _both_ways(record: Record) -> list[Record]:
    return [record, reversed_direction(record)] if isinstance(record, Translation) else [record]


def _once(paths: Sequence[Path], log: Log) -> Iterator[Path]:
    """All test files, each by the first of its names."""
    known: dict[tuple[int, int], Path] = {}
    for path in paths:
        for file in _test_files(path, log):
            held = file.stat()
            first = known.setdefault((held.st_dev, held.st_ino), file)
            if first is file:
                yield file
            elif first != file:
                log.say(f"{file}: passed over, it is {first} by another name")


def _test_files(path: Path, log: Log) -> Iterator[Path]:
    """The file, or those in a folder and below that are of a kind we read and not for training."""
    if not path.is_dir():
        yield present(path).absolute()
        return
    below = (file for file in sorted(path.absolute().rglob("*")) if file.is_file() and file.name.endswith(SUFFIXES))
    hidden = len(path.absolute().parts)
    files = [file for file in below if not any(part.startswith(".") for part in file.parts[hidden:])]
    for file in (file for file in files if file.name.endswith(".csv")):
        log.say(f"{file}: passed over; a csv file may be anything, so name it itself")
    files = [file for file in files if not file.name.endswith(".csv")]
    if not (tests := [file for file in files if not file.name.startswith("train")]):
        kinds = ", ".join(kind for kind in SUFFIXES if kind != ".csv")
        raise DataError(f"{path}: holds no test file; expected {kinds} here or below, not named train…")
    yield from tests


def _kind(file: Path) -> Task:
    where, row = next(rows(file))
    for kind, fields in _SHAPES.items():
        if isinstance(row, dict) and fields <= row.keys():
            return kind
    found = ", ".join(row) if isinstance(row, dict) else shown(row)
    expected = "; ".join(f"{kind}: {', '.join(sorted(fields))}" for kind, fields in _SHAPES.items())
    raise DataError(f"{where}: is no record of a kind that is known here; found {found}; expected {expected}")


def _refuse_trained_on(recipe: Recipe, files: Iterable[Path]) -> None:
    sources = [recipe.data.folder / source.source for data in recipe.data.tasks.values() for source in data.train]
    trained = {file_digest(path): path for path in sources if path.is_file()}
    for file in files:
        if learned := trained.get(file_digest(file)):
            raise DataError(f"{file}: is what the family was trained on ({learned}); name a test that it has not seen")


def _to_be_turned(recipe: Recipe, file: Path) -> bool:
    data = recipe.data.translation
    if data is None or not data.both_directions:
        return False
    records = islice(read(file, "translation"), recipe.measure.max_examples)
    ways = {(record.source_lang, record.target_lang) for record in records if isinstance(record, Translation)}
    return not any((there, here) in ways for here, there in ways)
