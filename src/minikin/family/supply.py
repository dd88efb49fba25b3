"""The recipe's sources as records: the village, files and hub datasets, in one stream a task."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Literal

from minikin.base.files import file_digest
from minikin.base.seeds import seed_for
from minikin.family.corpora import Corpora, Data
from minikin.family.recipe import Recipe
from minikin.text.records import Dialogue, Record, Translation
from minikin.text.sources import Task, present, read, read_hub, reversed_direction, views_of_others
from minikin.text.village import village

Split = Literal["train", "test"]
# of a source that is read, every twentieth record is held back while there are fewer than these: watched while
# training, never trained on, and no part of any test
_WATCHED_EVERY, _MOST_WATCHED = 20, 200


def sources_of(data: Corpora) -> dict[Task, Data]:
    """The tasks that a recipe has data for, and where it is from."""
    found: dict[Task, Data | None] = {
        "translation": data.translation,
        "summarization": data.summarization,
        "dialogue": data.dialogue,
        "text": data.text,
    }
    return {task: sources for task, sources in found.items() if sources is not None}


def training_records(recipe: Recipe, task: Task) -> Iterator[Record]:
    """All training records of a task."""
    for records in training_sources(recipe, task):
        yield from records


def training_sources(recipe: Recipe, task: Task) -> list[Iterator[Record]]:
    """The training records of each source of a task."""
    data = sources_of(recipe.data)[task]
    return [_directed(_unwatched(recipe, weighed.source, task), data) for weighed in data.train]


def watched_records(recipe: Recipe, task: Task) -> Iterator[list[Record]]:
    """What is held back of the training sources to watch a training by; a record and its reversal as one list."""
    data = sources_of(recipe.data)[task]
    for weighed in data.train:
        for record in _watched(recipe, weighed.source, task):
            yield list(_directed([record], data))


def test_records(recipe: Recipe, task: Task) -> dict[str, list[list[Record]]]:
    """What members are scored on, the first of each source by its name: selections if there are any, else the test.

    A record and its reversal come as one list: they say the same thing, so they are one example to statistics.
    """
    data = sources_of(recipe.data)[task]
    kind: Task = "selection" if data.select else task
    sources = data.select or data.test
    found = ((source, _first(recipe, [source], kind, recipe.measure.max_examples)) for source in sources)
    names = source_names(sources)
    return {names[source]: [list(_directed([record], data)) for record in records] for source, records in found}


def source_names(sources: Sequence[str]) -> dict[str, str]:
    """Short names that tell sources apart: of files the folder, the stem or both, with a number if need be.

    "data/sgd/valid.jsonl" and "data/dailydialog/valid.jsonl" are sgd and dailydialog.
    """
    found = list(dict.fromkeys(sources))
    for name in (_folder, _stem, _folder_and_stem):
        names = [name(source) for source in found]
        if all(names) and len(set(names)) == len(found):
            return dict(zip(found, names, strict=True))
    return {source: f"{_folder_and_stem(source)} {number}" for number, source in enumerate(found, 1)}


def fingerprint(recipe: Recipe, source: str) -> str:
    """What a source's content is known by: files by their bytes, others by their name."""
    if source.partition(":")[0] in ("village", "hub"):
        return source
    return f"{source} {file_digest(present(Path(recipe.data.root) / source))}"


def _folder(source: str) -> str:
    kind, _, rest = source.partition(":")
    if kind == "village":
        return kind
    return rest.rpartition("/")[2] if kind == "hub" else Path(source).parent.name


def _stem(source: str) -> str:
    return source if source.startswith(("village:", "hub:")) else Path(source).name.partition(".")[0]


def _folder_and_stem(source: str) -> str:
    return source if source.startswith(("village:", "hub:")) else f"{_folder(source)} {_stem(source)}".strip()


def _first(recipe: Recipe, sources: Iterable[str], kind: Task, count: int) -> Iterator[Record]:
    for source in sources:
        yield from islice(_read(recipe, source, kind, "test"), count)


def _unwatched(recipe: Recipe, source: str, task: Task) -> Iterator[Record]:
    records = _read(recipe, source, task, "train")
    if is_village(source):
        return records
    return (record for number, record in enumerate(records) if not _is_watched(number))


def _watched(recipe: Recipe, source: str, task: Task) -> Iterator[Record]:
    if is_village(source):  # it has as many held-out meanings as one likes: another seed gives others than the test's
        return village(task, _MOST_WATCHED, split="test", seed=seed_for(recipe.seed, "watched"))
    records = islice(_read(recipe, source, task, "train"), _WATCHED_EVERY * _MOST_WATCHED)
    return (record for number, record in enumerate(records) if _is_watched(number))


def _is_watched(number: int) -> bool:
    return number % _WATCHED_EVERY == _WATCHED_EVERY - 1 and number < _WATCHED_EVERY * _MOST_WATCHED


def _directed(records: Iterable[Record], data: Data) -> Iterator[Record]:
    for record in records:
        yield record
        if data.both_directions and isinstance(record, Translation):
            yield reversed_direction(record)
        if data.every_speaker and isinstance(record, Dialogue):
            yield from views_of_others(record)


def is_village(source: str) -> bool:
    """Whether a source is the built-in one."""
    return source.startswith("village:")


def _read(recipe: Recipe, source: str, task: Task, split: Split) -> Iterator[Record]:
    kind, _, rest = source.partition(":")
    if kind == "village":
        return village(task, int(rest), split=split, seed=recipe.seed)
    if kind == "hub":
        return read_hub(rest, task, split)
    return read(Path(recipe.data.root) / source, task)
