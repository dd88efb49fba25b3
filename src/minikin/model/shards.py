"""Weights on disk: safetensors files, written a piece at a time and read by mapping them into memory or by rows.

The library writes a file only from tensors that are all in memory; a table of the published sizes alone would be ten
gigabytes. The format is a length, a JSON header and the bytes (github.com/huggingface/safetensors), so it is written
here, and read with the library. Nothing else is ever opened: a pickle could run code.
"""

import json
import os
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, final

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from minikin.base.errors import CheckpointError
from minikin.base.files import MANIFEST, verify_file

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
SHARD_BYTES = 2 << 30
_NAMES = {torch.float32: "F32", torch.bfloat16: "BF16", torch.float16: "F16"}
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")


@dataclass(frozen=True, kw_only=True)
class Written:
    """A tensor to be written; `pieces` yields its elements in order, some rows at a time."""

    name: str
    shape: tuple[int, ...]
    dtype: torch.dtype
    pieces: Callable[[], Iterable[Tensor]]

    @property
    def bytes(self) -> int:
        """Bytes of all elements."""
        return prod(self.shape) * self.dtype.itemsize


def write_weights(folder: Path, tensors: Iterable[Written], shard_bytes: int = SHARD_BYTES) -> None:
    """Write one file, or several with an index if they are larger than a shard; a tensor is never divided."""
    shards = list(_sharded(tensors, shard_bytes))
    names = [WEIGHTS] if len(shards) == 1 else [_shard_name(number, len(shards)) for number in range(len(shards))]
    for name, shard in zip(names, shards, strict=True):
        _write_file(folder / name, shard)
    if len(shards) > 1:
        index = {
            "metadata": {"total_size": sum(tensor.bytes for shard in shards for tensor in shard)},
            "weight_map": {tensor.name: name for name, shard in zip(names, shards, strict=True) for tensor in shard},
        }
        (folder / INDEX).write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")


def weight_files(folder: Path) -> list[Path]:
    """The files that a folder's weights are in; raises CheckpointError if there are none or one is missing."""
    if (folder / INDEX).is_file():
        files = [folder / name for name in sorted(set(_weight_map(folder / INDEX).values()))]
    else:
        files = [folder / WEIGHTS]
    for file in files:
        if not file.is_file():
            pickles = sorted(path.name for kind in _PICKLES for path in folder.glob(kind))
            raise CheckpointError(
                f"{folder}: has no {file.name}"
                + (f", only {pickles[0]}, a pickle, which is never opened; save it as safetensors" if pickles else "")
                + ("" if pickles else "; build or fetch it again, or point to another folder")
            )
    return files


def mapped_weights(folder: Path) -> dict[str, Tensor]:
    """All tensors by name, mapped into memory: bytes are read when they are used. Writing to one changes no file.

    Raises CheckpointError if a file is missing or damaged.
    """
    found: dict[str, Tensor] = {}
    for path in weight_files(folder):
        if (folder / MANIFEST).is_file():  # a folder that another program wrote has none
            verify_file(folder, path.name)
        try:
            with safe_open(path, framework="pt") as stored:
                found |= {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
        except (SafetensorError, OSError) as error:
            raise CheckpointError(f"{path}: is damaged ({error}); build or fetch it again") from error
    for name, tensor in found.items():
        if tensor.dtype not in _NAMES:
            raise CheckpointError(
                f"{folder}: {name} is of type {tensor.dtype}; only {', '.join(_NAMES.values())} are read"
            )
    return found


@final
class RowFile:
    """A matrix in its file, of which some rows are read now and then.

    A mapping would do the same, but current kernels map two megabytes around every row that is touched: 64 tokens made
    90 MB of a published nano's table resident.
    """

    def __init__(self, folder: Path, ending: str) -> None:
        """Find the tensor with this ending of its name; raises CheckpointError if there is none."""
        for path in weight_files(folder):
            header, start = _header(path)
            for told in (told for name, told in header.items() if name.endswith(ending)):
                self._path, self._descriptor = path, os.open(path, os.O_RDONLY)
                weakref.finalize(self, os.close, self._descriptor)
                self._start, self._columns = start + told["data_offsets"][0], told["shape"][1]
                self._dtype = next(dtype for dtype, text in _NAMES.items() if text == told["dtype"])
                return
        raise CheckpointError(f"{folder}: the weights lack {ending}; build the member again")

    def __deepcopy__(self, _: object) -> "RowFile":
        return self  # it never changes, and the file is closed with the last that holds it

    def rows(self, indices: Tensor) -> Tensor:
        """Rows of these numbers, [...] → [..., columns], as they are stored."""
        found = torch.empty(indices.numel(), self._columns, dtype=self._dtype)
        size = self._columns * self._dtype.itemsize
        for index, row in zip(indices.flatten().tolist(), found.view(torch.uint8).numpy(), strict=True):
            if os.preadv(self._descriptor, [row.data], self._start + index * size) != size:
                raise CheckpointError(f"{self._path}: ends before row {index}; build the member again")
        return found.view(*indices.shape, self._columns)


def _header(path: Path) -> tuple[dict[str, Any], int]:
    """What a file says of its tensors, and where their bytes begin."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        return json.loads(file.read(length)), 8 + length


def _sharded(tensors: Iterable[Written], shard_bytes: int) -> Iterator[list[Written]]:
    shard: list[Written] = []
    for tensor in tensors:
        if shard and sum(other.bytes for other in shard) + tensor.bytes > shard_bytes:
            yield shard
            shard = []
        shard.append(tensor)
    yield shard


def _shard_name(number: int, count: int) -> str:
    return f"model-{number + 1:05d}-of-{count:05d}.safetensors"


def _write_file(path: Path, tensors: Iterable[Written]) -> None:
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    end = 0
    for tensor in tensors:
        start, end = end, end + tensor.bytes
        header[tensor.name] = {"dtype": _NAMES[tensor.dtype], "shape": tensor.shape, "data_offsets": (start, end)}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for tensor in tensors:
            for piece in tensor.pieces():
                file.write(piece.to("cpu", tensor.dtype).contiguous().view(torch.uint8).numpy().data)


def _weight_map(path: Path) -> Mapping[str, str]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))["weight_map"]
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path}: is damaged ({error!r}); build the member again") from error
    if strange := [name for name in found.values() if Path(name).name != name]:
        raise CheckpointError(f"{path}: names {strange[0]!r}, which is not a file of this folder")
    return found
