"""A member as one GGUF file, which llama.cpp and Ollama run.

Weights pass through memory a stretch of rows at a time, so that a table larger than the memory can be exported.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from gguf import GGUFWriter

from minikin.base.errors import CheckpointError, ExportError
from minikin.base.files import whole_file, write_text
from minikin.model.checkpoint import CONFIG, load, read_config
from minikin.model.config import FULL, Config
from minikin.model.scales import read_scales
from minikin.ship.identity import Identity, read_identity
from minikin.ship.metadata import describe
from minikin.ship.modelfile import modelfile
from minikin.ship.names import ROPE_FREQUENCIES, Weight, weights_of
from minikin.ship.rounding import encoded
from minikin.ship.shape import refuse_unrunnable, turning
from minikin.ship.types import Type, falls_back, known, stored_bytes, stored_type
from minikin.ship.vocabulary import Vocabulary, chat_template_of, read_vocabulary

CHUNK = 1 << 20  # weights in memory at a time, 4 MB as they are read
_FLOAT16_LARGEST = float(np.finfo(np.float16).max)
_STILL = 1e30  # divides a frequency so far that the pair does not turn


@dataclass(frozen=True, kw_only=True)
class Exported:
    """What was written; `fallbacks` says in words which weights are larger than the kind promises."""

    path: Path
    kind: str
    bytes: int
    fallbacks: tuple[str, ...]
    matrices: int
    context: int
    chats: bool
    sampling: Mapping[str, float]

    @property
    def kept_larger(self) -> str:
        """How much of the file is not of its kind."""
        if len(self.fallbacks) == self.matrices:
            return f"none of {self.matrices} matrices can be {self.kind.upper()}: this is a file of F16 by another name"
        return f"{len(self.fallbacks)} of {self.matrices} matrices are F16 instead of {self.kind.upper()}"


def export(member: Path, out: Path | None, kind: str, weights: Path | None = None) -> Exported:
    """Write a member's folder as a GGUF file of this kind.

    `weights` is the folder of the same member that lies on this kind's grids already; else they are rounded to the
    nearest. `out` is the file if it ends with .gguf, else a folder in which the file gets its conventional name;
    without it, the member's own folder. Raises MinikinError, and then an earlier file is still what it was.
    """
    known(kind)
    contents = _contents(member, kind, weights or member)
    path = _destination(member, out, contents.identity.file_name(kind))
    with whole_file(path) as fresh:
        _write(fresh, contents)
    larger = (weight for weight in contents.weights if falls_back(weight.source, weight.shape, kind))
    fallbacks = tuple(_fallback(weight, kind) for weight in larger)
    return Exported(
        path=path,
        kind=kind,
        bytes=path.stat().st_size,
        fallbacks=fallbacks,
        matrices=sum(len(weight.shape) > 1 for weight in contents.weights),
        context=contents.config.max_position_embeddings,
        chats=contents.vocabulary.chat_template is not None,
        sampling=contents.identity.sampling,
    )


def write_modelfile(exported: Exported) -> Path:
    """A Modelfile for Ollama beside a file; files in one folder share it, and it takes the one that came last."""
    beside = exported.path.with_name("Modelfile")
    write_text(beside, modelfile(exported.path.name, exported.context, exported.sampling, chats=exported.chats))
    return beside


def file_of(member: Path, kind: str) -> Path:
    """Where a member's file of a kind is written if nothing else is said."""
    identity = read_identity(member, read_config(member).parameters, chats=chat_template_of(member) is not None)
    return member / identity.file_name(kind)


@dataclass(frozen=True, kw_only=True)
class _Contents:
    """All that a file will hold; weights are still in the member's files."""

    member: Path
    identity: Identity
    config: Config
    vocabulary: Vocabulary
    kind: str
    weights: list[Weight]

    @property
    def typed(self) -> list[tuple[Weight, Type]]:
        """The weights, each with its type."""
        return [(weight, stored_type(weight.source, weight.shape, self.kind)) for weight in self.weights]


def _contents(member: Path, kind: str, weights: Path) -> _Contents:
    config = read_config(member)
    refuse_unrunnable(config, str(member / CONFIG))
    vocabulary = read_vocabulary(member, config.vocab_size)
    return _Contents(
        member=member,
        identity=read_identity(member, config.parameters, chats=vocabulary.chat_template is not None),
        config=config,
        vocabulary=vocabulary,
        kind=kind,
        weights=weights_of(load(weights, config), read_scales(weights, kind)),
    )


def _destination(member: Path, out: Path | None, name: str) -> Path:
    folder = member if out is None else out
    if folder.suffix == ".gguf":
        if folder.is_dir():
            raise ExportError(f"{folder}: is a folder; name a file or a folder without .gguf")
        return folder
    return folder / name


def _write(path: Path, contents: _Contents) -> None:
    writer = GGUFWriter(path, "gemma4")
    describe(writer, contents.identity, contents.config, contents.vocabulary, contents.kind)
    frequencies = _rope_frequencies(contents.config)
    writer.add_tensor_info(ROPE_FREQUENCIES, frequencies.shape, frequencies.dtype, frequencies.nbytes)
    for weight, type_ in contents.typed:
        size = stored_bytes(weight.shape, type_)
        writer.add_tensor_info(weight.target, weight.shape, np.dtype(np.float32), size, raw_dtype=type_)
    try:
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        _write_padded(writer, [frequencies])
        for weight, type_ in contents.typed:
            _write_padded(writer, _chunks(weight, type_, contents.member))
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


def _chunks(weight: Weight, type_: Type, member: Path) -> Iterator[np.ndarray]:
    for rows, scales in weight.stretches(CHUNK):
        if not np.isfinite(rows).all():
            raise CheckpointError(
                f"{member}: {weight.source} holds numbers that are not finite; train the member again"
            )
        if type_ is Type.F16 and np.abs(rows).max() > _FLOAT16_LARGEST:
            raise ExportError(f"{member}: {weight.source} is too large for float16; export bf16 or f32")
        yield encoded(rows, type_, scales)


def _rope_frequencies(config: Config) -> np.ndarray:
    """What divides the frequency of each pair of a full-attention head."""
    frequencies = np.full(config.head_dim_of(FULL) // 2, _STILL, dtype=np.float32)
    frequencies[: turning(config) // 2] = 1.0
    return frequencies


def _fallback(weight: Weight, kind: str) -> str:
    return f"{weight.target}: rows of {weight.shape[-1]} are no multiple of 32, F16 instead of {kind.upper()}"
