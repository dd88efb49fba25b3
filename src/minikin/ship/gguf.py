"""A member as one GGUF file, which llama.cpp and Ollama run.

Weights pass through memory a stretch of rows at a time, so that a table larger than the memory can be exported.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from gguf import GGUFWriter

from minikin.base.errors import CheckpointError, ExportError
from minikin.base.files import read_json, whole_file, write_text
from minikin.model.checkpoint import CONFIG
from minikin.ship.identity import Identity, read_identity
from minikin.ship.metadata import describe
from minikin.ship.modelfile import modelfile
from minikin.ship.names import ROPE_FREQUENCIES, Weight, weights_of
from minikin.ship.rounding import encoded
from minikin.ship.shape import Shape, read_shape, with_sliding_layer
from minikin.ship.types import Type, falls_back, known, stored_bytes, stored_type
from minikin.ship.vocabulary import Vocabulary, read_vocabulary
from minikin.ship.weights import StoredWeights, opened

CHUNK = 1 << 20  # weights in memory at a time, 4 MB as they are read
_FLOAT16_LARGEST = float(np.finfo(np.float16).max)
_STILL = 1e30  # divides a frequency so far that the pair does not turn


@dataclass(frozen=True, kw_only=True)
class Exported:
    """What was written; `fallbacks` says in words which weights are larger than the kind promises."""

    path: Path
    modelfile: Path
    kind: str
    bytes: int
    fallbacks: tuple[str, ...]


def export(member: Path, out: Path | None, kind: str) -> Exported:
    """Write a member's folder as a GGUF file of this kind, and a Modelfile for Ollama beside it.

    `out` is the file if it ends with .gguf, else a folder in which the file gets its conventional name;
    without it, the member's own folder. Raises MinikinError before anything is written, or StorageError.
    """
    known(kind)
    config_path = member / CONFIG
    if not config_path.is_file():
        raise CheckpointError(f"{member}: has no {CONFIG}; this is not a member's folder")
    shape = with_sliding_layer(read_shape(read_json(config_path), str(config_path)))
    vocabulary = read_vocabulary(member, shape.vocab_size)
    weights = tuple(weights_of(shape))
    parameters = sum(_count(weight.shape) for weight in weights)
    identity = read_identity(member, parameters, chats=vocabulary.chat_template is not None)
    path = _destination(member, out, identity.file_name(kind))
    with opened(member) as stored:
        _refuse_other_weights(stored, weights)
        with whole_file(path) as fresh:
            _write(fresh, identity, shape, vocabulary, kind, stored, weights)
    beside = path.with_name("Modelfile")
    write_text(beside, modelfile(path.name, shape.context_length, chats=vocabulary.chat_template is not None))
    fallbacks = tuple(_fallback(weight, kind) for weight in weights if falls_back(weight.source, weight.shape, kind))
    return Exported(path=path, modelfile=beside, kind=kind, bytes=path.stat().st_size, fallbacks=fallbacks)


def _destination(member: Path, out: Path | None, name: str) -> Path:
    folder = member if out is None else out
    if folder.suffix == ".gguf":
        if folder.is_dir():
            raise ExportError(f"{folder}: is a folder; name a file or a folder without .gguf")
        return folder
    return folder / name


def _refuse_other_weights(stored: StoredWeights, weights: Sequence[Weight]) -> None:
    expected = {weight.source: weight.shape for weight in weights}
    for name in sorted(expected.keys() ^ stored.names):
        state = "lacks" if name in expected else "holds an unknown"
        raise CheckpointError(f"{stored.folder}: {state} {name}; weights and {CONFIG} do not belong together")
    for name, shape in expected.items():
        if stored.shape(name) != shape:
            raise CheckpointError(
                f"{stored.folder}: {name} has shape {stored.shape(name)}, but {CONFIG} asks for {shape}; "
                "weights and configuration do not belong together"
            )


def _write(
    path: Path,
    identity: Identity,
    shape: Shape,
    vocabulary: Vocabulary,
    kind: str,
    stored: StoredWeights,
    weights: Sequence[Weight],
) -> None:
    writer = GGUFWriter(path, "gemma4")
    describe(writer, identity, shape, vocabulary, kind)
    frequencies = _rope_frequencies(shape)
    if not all(shape.sliding):  # llama.cpp refuses a file with a weight that no layer uses
        writer.add_tensor_info(ROPE_FREQUENCIES, frequencies.shape, frequencies.dtype, frequencies.nbytes)
    types = [stored_type(weight.source, weight.shape, kind) for weight in weights]
    for weight, type_ in zip(weights, types, strict=True):
        size = stored_bytes(weight.shape, type_)
        writer.add_tensor_info(weight.target, weight.shape, np.dtype(np.float32), size, raw_dtype=type_)
    try:
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        assert writer.fout is not None  # one file, since no limit was set for splitting
        file = writer.fout[0]
        writer.write_padding(file, file.tell())
        if not all(shape.sliding):
            _write_padded(writer, file, [frequencies])
        for weight, type_ in zip(weights, types, strict=True):
            _write_padded(writer, file, _chunks(stored, weight, type_))
    finally:
        writer.close()


def _write_padded(writer: GGUFWriter, file: BinaryIO, chunks: Sequence[np.ndarray] | Iterator[np.ndarray]) -> None:
    start = file.tell()
    for chunk in chunks:
        file.write(chunk.tobytes())
    writer.write_padding(file, file.tell() - start)


def _chunks(stored: StoredWeights, weight: Weight, type_: Type) -> Iterator[np.ndarray]:
    length, columns = weight.shape[0], _count(weight.shape[1:])
    # rows in another order are read at once: they are the queries or keys of one layer
    step = length if weight.order else max(1, CHUNK // columns)
    for start in range(0, length, step):
        rows = stored.rows(weight.source, slice(start, min(start + step, length)))
        rows = rows[list(weight.order)] if weight.order else rows
        if type_ is Type.F16 and np.abs(rows).max() > _FLOAT16_LARGEST:
            raise CheckpointError(f"{stored.folder}: {weight.source} is too large for float16; export bf16 or f32")
        yield encoded(rows, type_)


def _rope_frequencies(shape: Shape) -> np.ndarray:
    """What divides the frequency of each pair of a full-attention head."""
    pairs = shape.full_head_dim // 2
    turning = int(shape.full_head_dim * shape.partial_rotary_factor / 2)
    return np.array([1.0] * turning + [_STILL] * (pairs - turning), dtype=np.float32)


def _fallback(weight: Weight, kind: str) -> str:
    return f"{weight.target}: rows of {weight.shape[-1]} are no multiple of 32, F16 instead of {kind.upper()}"


def _count(shape: Sequence[int]) -> int:
    return int(np.prod(shape, dtype=np.int64))
