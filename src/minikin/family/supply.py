"""The recipe's sources as records: the village, files and hub datasets, in one stream a task."""

import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from random import Random
from typing import Literal, cast

from minikin.base.errors import DataError
from minikin.base.files import file_digest
from minikin.base.seeds import seed_for
from minikin.family.corpora import DATA_ROOT, Data, NamedSource
from minikin.family.recipe import Recipe
from minikin.text.hub import fetched
from minikin.text.mapping import OURS, Naming, Task
from minikin.text.records import Dialogue, Record, Translation
from minikin.text.rows import present, rows
from minikin.text.sources import read
from minikin.text.views import reversed_direction, up_to_drawn_turns, views_of_others
from minikin.text.village import village

Split = Literal["train", "test"]
_VILLAGE = 2  # raise it when the village tells something else
# of a source that is read, every twentieth record is held back while there are fewer than these: watched while
# training, and never trained on
_WATCHED_EVERY, _MOST_WATCHED = 20, 200
_ADVICE = f"where files are, say with --set data.root=FOLDER or the environment variable {DATA_ROOT}"


def training_records(recipe: Recipe, task: Task) -> Iterator[Record]:
    """All training records of a task."""
    return chain.from_iterable(training_sources(recipe, task))


def training_sources(recipe: Recipe, task: Task) -> list[Iterator[Record]]:
    """The training records of each source of a task."""
    data = recipe.data.tasks[task]
    return [directed(_unwatched(recipe, source, task), data) for source in data.train]


def watched_records(recipe: Recipe, task: Task) -> Iterator[list[Record]]:
    """What is held back of all sources to watch a training by; a record and its other views as one list."""
    return chain.from_iterable(watched_sources(recipe, task))


def watched_sources(recipe: Recipe, task: Task) -> list[Iterator[list[Record]]]:
    """The same of each source."""
    data = recipe.data.tasks[task]
    watched = (_watched(recipe, source, task) for source in data.train)
    return [(list(directed([record], data)) for record in records) for records in watched]


def records_of(recipe: Recipe, source: NamedSource, task: Task, split: Split) -> Iterator[Record]:
    """The records of a source; raises DataError if neither its file nor its dataset is to be had, or one is bad."""
    if source.is_village:
        return village(task, int(source.source.removeprefix("village:")), split=split, seed=recipe.seed)
    path = _file(recipe, source)
    paths = _dataset(recipe, source, split) if path is None else [path]
    naming = OURS if path is not None and source.hub else _naming(source)
    # of records that are whole dialogues, responses are selected among drawn turns
    if task == "selection" and _whole(paths[0], naming):
        dialogues = cast(Iterator[Dialogue], _read(paths, "dialogue", naming))
        return up_to_drawn_turns(dialogues, Random(seed_for(recipe.seed, "turns", source.source)))
    return _read(paths, task, naming)


def directed(records: Iterable[Record], data: Data) -> Iterator[Record]:
    """Records, each followed by its other views that are learned."""
    for record in records:
        yield record
        if data.both_directions and isinstance(record, Translation):
            yield reversed_direction(record)
        if data.every_speaker and isinstance(record, Dialogue):
            yield from views_of_others(record)


def fingerprint(recipe: Recipe, source: NamedSource) -> str:
    """What a source's content is known by: files by their bytes, others by their name; and where its fields are."""
    named = source.model_dump(exclude={"source", "hub", "weight"}, exclude_defaults=True)
    if source.is_village:
        return f"{source.source} {_VILLAGE}"
    if path := _file(recipe, source):
        known, named = f"{source.source} {file_digest(path)}", {} if source.hub else named
    else:
        known = f"hub:{source.dataset}"
    return f"{known} {json.dumps(named)}" if named else known


def _unwatched(recipe: Recipe, source: NamedSource, task: Task) -> Iterator[Record]:
    records = records_of(recipe, source, task, "train")
    if source.is_village:
        return records
    return (record for number, record in enumerate(records) if not _is_watched(number))


def _watched(recipe: Recipe, source: NamedSource, task: Task) -> Iterator[Record]:
    if source.is_village:
        return village(task, _MOST_WATCHED, split="watch", seed=recipe.seed)
    records = islice(records_of(recipe, source, task, "train"), _WATCHED_EVERY * _MOST_WATCHED)
    return (record for number, record in enumerate(records) if _is_watched(number))


def _is_watched(number: int) -> bool:
    return number % _WATCHED_EVERY == _WATCHED_EVERY - 1 and number < _WATCHED_EVERY * _MOST_WATCHED


def _file(recipe: Recipe, source: NamedSource) -> Path | None:
    """The file to read; None if it is a dataset; raises DataError if there must be a file and is none."""
    path = recipe.data.folder / source.source
    if source.source.startswith("hub:") or (source.hub and not path.is_file()):
        return None
    return present(path, "" if Path(source.source).is_absolute() else f"; {_ADVICE}")


def _dataset(recipe: Recipe, source: NamedSource, split: Split) -> Sequence[Path]:
    assert source.dataset is not None
    try:
        return fetched(source.dataset, source.split or split, source.revision)
    except DataError as error:
        if source.hub is None:
            raise
        raise DataError(f"{recipe.data.folder / source.source}: no such file, and {error}; {_ADVICE}") from error


def _whole(path: Path, naming: Naming) -> bool:
    """Whether a file's records are whole dialogues, by what fields are named, or by the first record."""
    if naming.places:
        return any(field.startswith("turns") for field in naming.places)
    _, first = next(rows(path))
    return isinstance(first, dict) and "turns" in first and "context" not in first


def _read(paths: Iterable[Path], task: Task, naming: Naming) -> Iterator[Record]:
    return (record for path in paths for record in read(path, task, naming))


def _naming(source: NamedSource) -> Naming:
    same = {"source_lang": source.source_lang, "target_lang": source.target_lang}
    found = {field: value for field, value in same.items() if value is not None}
    return Naming(places=source.fields, same=found) if source.fields or found else OURS
