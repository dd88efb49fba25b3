"""Short names for sources and checkpoints, as reports call them."""

from collections.abc import Sequence
from pathlib import Path


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


def origin_name(origin: str) -> str:
    """What a checkpoint is called: a path that is a machine's own by its last part."""
    return Path(origin).name if Path(origin).is_absolute() else origin


def _folder(source: str) -> str:
    kind, _, rest = source.partition(":")
    if kind == "village":
        return kind
    return rest.rpartition("/")[2] if kind == "hub" else Path(source).parent.name


def _stem(source: str) -> str:
    return source if source.startswith(("village:", "hub:")) else Path(source).name.partition(".")[0]


def _folder_and_stem(source: str) -> str:
    return source if source.startswith(("village:", "hub:")) else f"{_folder(source)} {_stem(source)}".strip()
