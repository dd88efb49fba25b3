"""Which type each weight has in a GGUF file of each kind: the one place where this is decided."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, LlamaFileType

from minikin.base.errors import ExportError

Type = GGMLQuantizationType


@dataclass(frozen=True, kw_only=True)
class Kind:
    """What most weights of a file are, and the number by which llama.cpp names such files."""

    weights: Type
    file_type: LlamaFileType


KINDS: Mapping[str, Kind] = {
    "f32": Kind(weights=Type.F32, file_type=LlamaFileType.ALL_F32),
    "f16": Kind(weights=Type.F16, file_type=LlamaFileType.MOSTLY_F16),
    "bf16": Kind(weights=Type.BF16, file_type=LlamaFileType.MOSTLY_BF16),
    "q8_0": Kind(weights=Type.Q8_0, file_type=LlamaFileType.MOSTLY_Q8_0),
    "q4_0": Kind(weights=Type.Q4_0, file_type=LlamaFileType.MOSTLY_Q4_0),
}

# What a file of four bits keeps at eight: all but feed-forward and tables. On the village's full model four bits
# everywhere cost 0.0020 nats a token and 1.51 MB, this 0.00004 and 1.80 MB, eight bits everywhere 0.00001 and 2.83 MB.
# The embedding, which is also the head, and attention save most for their bytes; the gates of the tables halve
# what is left. The tables themselves would add 0.79 MB and save next to nothing.
_SENSITIVE = (
    "embed_tokens.",
    "self_attn.",
    "per_layer_input_gate.",
    "per_layer_projection.",
    "per_layer_model_projection.",
)


def known(kind: str) -> Kind:
    """The kind of this name; raises ExportError naming all of them."""
    if kind not in KINDS:
        raise ExportError(f"type {kind!r}: is unknown; choose one of {', '.join(KINDS)}")
    return KINDS[kind]


def stored_type(name: str, shape: Sequence[int], kind: str) -> Type:
    """The type of the weight that Transformers calls `name` in a file of this kind.

    Vectors stay float32. Rows that do not divide into blocks fall back to float16.
    """
    if len(shape) < 2:
        return Type.F32
    wanted = known(kind).weights
    if wanted is Type.Q4_0 and any(part in name for part in _SENSITIVE):
        wanted = Type.Q8_0
    return wanted if shape[-1] % _block(wanted) == 0 else Type.F16


def falls_back(name: str, shape: Sequence[int], kind: str) -> bool:
    """Whether this weight is larger than its kind promises, because its rows do not divide into blocks."""
    return stored_type(name, shape, kind) is Type.F16 and _block(known(kind).weights) > 1


def stored_bytes(shape: Sequence[int], type_: Type) -> int:
    """Bytes of a weight, rows being whole blocks."""
    block, size = GGML_QUANT_SIZES[type_]
    count = 1
    for length in shape:
        count *= length
    return count // block * size


def _block(type_: Type) -> int:
    return GGML_QUANT_SIZES[type_][0]
