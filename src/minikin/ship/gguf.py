"""A member as one GGUF file, which llama.cpp and Ollama run.

Weights pass through memory a stretch of rows at a time, so that a table larger than the memory can be exported.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

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
    without it, the member's own folder. Raises MinikinError, and then an earlier file is still what it was.
    """
    known(kind)
    contents = _contents(member, kind)
    path = _destination(member, out, contents.identity.file_name(kind))
    with opened(member) as stored:
        _refuse_other_weights(stored, contents.weights)
        with whole_file(path) as fresh:
            _write(fresh, contents, stored)
    beside = path.with_name("Modelfile")
    chats = contents.vocabulary.chat_template is not None
    write_text(beside, modelfile(path.name, contents.shape.context_length, chats=chats))
    larger = (weight for weight in contents.weights if falls_back(weight.source, weight.shape, kind))
    fallbacks = tuple(_fallback(weight, kind) for weight in larger)
    return Exported(path=path, modelfile=beside, kind=kind, bytes=path.stat().st_size, fallbacks=fallbacks)


@dataclass(frozen=True, kw_only=True)
class _Contents:
    """All that a file will hold, but for the numbers themselves."""

    identity: Identity
    shape: Shape
    vocabulary: Vocabulary
    kind: str
    weights: tuple[Weight, ...]

    @property
    def types(self) -> list[Type]:
        """The type of each weight."""
        return [stored_type(weight.source, weight.shape, self.kind) for weight in self.weights]


def _contents(member: Path, kind: str) -> _Contents:
    path = member / CONFIG
    if not path.is_file():
        raise CheckpointError(f"{member}: has no {CONFIG}; this is not a member's folder")
    shape = with_sliding_layer(read_shape(read_json(path), str(path)))
    vocabulary, weights = read_vocabulary(member, shape.vocab_size), tuple(weights_of(shape))
    parameters = sum(_count(weight.shape) for weight in weights)
    identity = read_identity(member, parameters, chats=vocabulary.chat_template is not None)
    return _Contents(identity=identity, shape=shape, vocabulary=vocabulary, kind=kind, weights=weights)


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


def _write(path: Path, contents: _Contents, stored: StoredWeights) -> None:
    writer, shape = GGUFWriter(path, "gemma4"), contents.shape
    describe(writer, contents.identity, shape, contents.vocabulary, contents.kind)
    frequencies = _rope_frequencies(shape)
    writer.add_tensor_info(ROPE_FREQUENCIES, frequencies.shape, frequencies.dtype, frequencies.nbytes)
    for weight, type_ in zip(contents.weights, contents.types, strict=True):
        size = stored_bytes(weight.shape, type_)
        writer.add_tensor_info(weight.target, weight.shape, np.dtype(np.float32), size, raw_dtype=type_)
    try:
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        _write_padded(writer, [frequencies])
        for weight, type_ in zip(contents.weights, contents.types, strict=True):
            _write_padded(writer, _chunks(stored, weight, type_))
    finally:
        writer.close()


def _write_padded(writer: GGUFWriter, chunks: Iterable[np.ndarray]) -> None:
    """Write one weight, aligned; the library would want it whole."""
    assert writer.fout is not None  # one file, since no limit was set for splitting
    file = writer.fout[0]
    writer.write_padding(file, file.tell())
    for chunk in chunks:
        file.write(chunk.tobytes())
    writer.write_padding(file, file.tell())


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
