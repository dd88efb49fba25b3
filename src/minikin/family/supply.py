"""The recipe's sources as records: the village, files and hub datasets, in one stream a task."""

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Literal

from minikin.base.files import file_digest
from minikin.family.recipe import TASKS, Corpora, Data
from minikin.text.records import Record, Translation
from minikin.text.sources import read, read_hub, reversed_direction
from minikin.text.village import village

Split = Literal["train", "test"]


def tasks_of(data: Corpora) -> dict[str, Data]:
    """The tasks that a recipe has data for."""
    found = {task: getattr(data, task) for task in TASKS}
    return {task: sources for task, sources in found.items() if sources is not None}


def training_records(task: str, data: Data, seed: int) -> Iterator[Record]:
    """All training records of a task."""
    return _records(task, data.train, "train", seed, both=data.both_directions)


def test_records(task: str, data: Data, seed: int, most: int) -> Iterator[Record]:
    """Held-out records of a task, at most `most` of each source; of dialogue, selections where there are some."""
    chosen = data.select or data.test
    kind = "selection" if data.select else task
    for source in chosen:
        records = _records(kind, [source], "test", seed, both=False)
        for record in islice(records, most):
            yield record
            if data.both_directions and isinstance(record, Translation):
                yield reversed_direction(record)


def fingerprint(source: str) -> str:
    """What a source's content is known by: files by their bytes, others by their name."""
    path = Path(source)
    return f"{source} {file_digest(path)}" if path.is_file() else source


def _records(task: str, sources: Sequence[str], split: Split, seed: int, *, both: bool) -> Iterator[Record]:
    for source in sources:
        for record in _read(task, source, split, seed):
            yield record
            if both and isinstance(record, Translation):
                yield reversed_direction(record)


def _read(task: str, source: str, split: Split, seed: int) -> Iterator[Record]:
    kind, _, rest = source.partition(":")
    if kind == "village":
        return village(task, int(rest), split=split, seed=seed)  # type: ignore[arg-type]
    if kind == "hub":
        return read_hub(rest, task, split)  # type: ignore[arg-type]
    return read(Path(source), task)  # type: ignore[arg-type]
