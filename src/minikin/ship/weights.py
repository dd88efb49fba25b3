"""The weights of a Hugging Face folder, in one file or in shards, read a stretch of rows at a time."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
from safetensors import SafetensorError, safe_open

from minikin.base.errors import CheckpointError
from minikin.base.files import MANIFEST, read_json, verify_file
from minikin.model.checkpoint import CONFIG
from minikin.model.shards import WEIGHTS

INDEX = "model.safetensors.index.json"
_READABLE = ("F64", "F32", "F16", "BF16")


@final
class StoredWeights:
    """Named tensors on disk; nothing is read before it is asked for."""

    def __init__(self, folder: Path, files: Mapping[str, Any]) -> None:
        self.folder = folder
        self._files = files

    @property
    def names(self) -> set[str]:
        """Names of all tensors."""
        return set(self._files)

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of a tensor; raises CheckpointError if it is not there or holds no floating-point numbers."""
        try:
            stored = self._files[name].get_slice(name)
        except SafetensorError as error:
            raise CheckpointError(f"{self.folder}: {INDEX} promises {name}, but its shard lacks it") from error
        if stored.get_dtype() not in _READABLE:
            raise CheckpointError(
                f"{self.folder}: {name} is stored as {stored.get_dtype()}; export the member before it was quantized"
            )
        return tuple(stored.get_shape())

    def rows(self, name: str, rows: slice = slice(None)) -> np.ndarray:
        """Some rows of a tensor as float32; raises CheckpointError if one of them is not finite."""
        found = self._files[name].get_slice(name)[rows].to(torch.float32).numpy()
        if not np.isfinite(found).all():
            raise CheckpointError(f"{self.folder}: {name} holds numbers that are not finite; train the member again")
        return found


@contextmanager
def opened(folder: Path) -> Iterator[StoredWeights]:
    """The weights of a folder; raises CheckpointError if they are missing or damaged."""
    places = _places(folder)
    with ExitStack() as stack:
        files = {name: stack.enter_context(_opened(folder, name)) for name in sorted(set(places.values()))}
        if places.keys() == {""}:
            places = dict.fromkeys(files[WEIGHTS].keys(), WEIGHTS)
        yield StoredWeights(folder, {name: files[file] for name, file in places.items()})


def _places(folder: Path) -> Mapping[str, str]:
    """Which file holds which tensor; one file holds all, whatever their names."""
    if (folder / WEIGHTS).is_file():
        return {"": WEIGHTS}
    if (folder / INDEX).is_file():
        places = read_json(folder / INDEX).get("weight_map", {})
        if places and all(Path(file).name == file for file in places.values()):
            return places
        raise CheckpointError(f"{folder / INDEX}: its weight_map does not name files of this folder; download it again")
    hint = "build the member again or point to another folder"
    if not (folder / CONFIG).is_file():
        hint = "this is not a member's folder"
    raise CheckpointError(f"{folder}: has no {WEIGHTS}; {hint}")


def _opened(folder: Path, name: str) -> Any:
    if not (folder / name).is_file():
        raise CheckpointError(f"{folder / name}: is missing; {INDEX} names it, download it again")
    if (folder / MANIFEST).is_file():  # a folder that another program wrote has none
        verify_file(folder, name)
    try:
        return safe_open(folder / name, framework="pt")
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{folder / name}: is damaged ({error}); build the member again") from error
