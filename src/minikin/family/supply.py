"""The recipe's sources as records: the village, files and hub datasets, in one stream a task."""

import json
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from pathlib import Path
from typing import Literal

from minikin.base.errors import DataError
from minikin.base.files import file_digest
from minikin.family.corpora import DATA_ROOT, NamedSource
from minikin.family.recipe import Recipe
from minikin.text.hub import fetched
from minikin.text.mapping import OURS, Naming, Task
from minikin.text.records import Record, Translation
from minikin.text.sources import present, read, reversed_direction
from minikin.text.village import village

Split = Literal["train", "test"]
_WATCHED = 400  # examples a source
_ADVICE = f"where files are, say with --set data.root=FOLDER or the environment variable {DATA_ROOT}"


def training_records(recipe: Recipe, task: Task) -> Iterator[Record]:
    """All training records of a task."""
    return chain.from_iterable(training_sources(recipe, task))


def training_sources(recipe: Recipe, task: Task) -> list[Iterator[Record]]:
    """The training records of each source of a task."""
    data = recipe.data.tasks[task]
    found = [records_of(recipe, source, task, "train") for source in data.train]
    return [both_ways(records) for records in found] if data.both_directions else found


def held_out_records(recipe: Recipe, task: Task) -> Iterator[Record]:
    """What the loss is watched on while training, the first of each source: the test, else the selections."""
    data = recipe.data.tasks[task]
    kind: Task = task if data.test else "selection"
    found = [islice(records_of(recipe, source, kind, "test"), _WATCHED) for source in data.test or data.select]
    return both_ways(chain.from_iterable(found)) if data.both_directions else chain.from_iterable(found)


def records_of(recipe: Recipe, source: NamedSource, task: Task, split: Split) -> Iterator[Record]:
    """The records of a source; raises DataError if neither its file nor its dataset is to be had, or one is bad."""
    kind, _, count = source.source.partition(":")
    if kind == "village":
        return village(task, int(count), split=split, seed=recipe.seed)
    path = _file(recipe, source)
    if path is not None and source.hub:
        return read(path, task)
    # in records that are whole dialogues, a response is selected among their last turns
    if task == "selection" and any(field.startswith("turns") for field in source.fields):
        task = "dialogue"
    return _read(_dataset(recipe, source, split) if path is None else [path], task, _naming(source))


def both_ways(records: Iterable[Record]) -> Iterator[Record]:
    """Records, each translation followed by the same pair the other way round."""
    for record in records:
        yield record
        if isinstance(record, Translation):
            yield reversed_direction(record)


def fingerprint(recipe: Recipe, source: NamedSource) -> str:
    """What a source's content is known by: files by their bytes, others by their name; and where its fields are."""
    named = source.model_dump(exclude={"source", "hub", "weight"}, exclude_defaults=True)
    if source.source.startswith("village:"):
        return source.source
    if path := _file(recipe, source):
        known, named = f"{source.source} {file_digest(path)}", {} if source.hub else named
    else:
        known = f"hub:{source.dataset}"
    return f"{known} {json.dumps(named)}" if named else known


def _file(recipe: Recipe, source: NamedSource) -> Path | None:
    """The file to read; None if it is a dataset; raises DataError if there must be a file and is none."""
    path = recipe.data.folder / source.source
    if source.source.startswith("hub:") or (source.hub and not path.is_file()):
        return None
    return present(path, "" if Path(source.source).is_absolute() else f"; {_ADVICE}")


def _dataset(recipe: Recipe, source: NamedSource, split: Split) -> list[Path]:
    assert source.dataset is not None
    try:
        return fetched(source.dataset, source.split or split, source.revision)
    except DataError as error:
        if source.hub is None:
            raise
        raise DataError(f"{recipe.data.folder / source.source}: no such file, and {error}; {_ADVICE}") from error


def _read(paths: Iterable[Path], task: Task, naming: Naming) -> Iterator[Record]:
    return (record for path in paths for record in read(path, task, naming))


def _naming(source: NamedSource) -> Naming:
    same = {"source_lang": source.source_lang, "target_lang": source.target_lang}
    found = {field: value for field, value in same.items() if value is not None}
    return Naming(places=source.fields, same=found) if source.fields or found else OURS
