"""The shape of a member as llama.cpp needs it, layer by layer, read from any Gemma 4 text configuration.

Wider than `model.config.Config`: what our decoder cannot be, a foreign member may be, if llama.cpp can.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from minikin.base.errors import CheckpointError

SLIDING, FULL = "sliding_attention", "full_attention"

# what Gemma 4 can be and this exporter does not write: each must have this value or be absent
_REFUSED: Mapping[str, Any] = {
    "attention_bias": False,
    "attention_k_eq_v": False,
    "enable_moe_block": False,
    "hidden_activation": "gelu_pytorch_tanh",
    "tie_word_embeddings": True,
    "use_bidirectional_attention": None,
}
_GLOBAL_HEAD_DIM = 512  # Transformers' default


@dataclass(frozen=True, kw_only=True)
class Shape:
    """Sizes of a decoder; tuples have one entry a layer. `table_size` 0 means no per-layer tables."""

    vocab_size: int
    hidden_size: int
    intermediate_sizes: tuple[int, ...]
    num_attention_heads: int
    num_key_value_heads: int
    sliding: tuple[bool, ...]
    sliding_head_dim: int
    full_head_dim: int
    shared_layers: int
    table_size: int
    sliding_window: int
    sliding_turning: int  # channels of a sliding head that positions turn; all but in a stand-in
    context_length: int
    rms_norm_eps: float
    sliding_theta: float
    full_theta: float
    partial_rotary_factor: float
    softcapping: float | None

    @property
    def layers(self) -> int:
        """Number of layers."""
        return len(self.sliding)

    @property
    def first_shared(self) -> int:
        """The first layer that reads the keys and values of an earlier one."""
        return self.layers - self.shared_layers

    def head_dim(self, layer: int) -> int:
        """Width of one head of this layer."""
        return self.sliding_head_dim if self.sliding[layer] else self.full_head_dim


def read_shape(config: Mapping[str, Any], where: str) -> Shape:
    """The shape that a config.json declares; raises CheckpointError naming what cannot be exported."""
    if config.get("model_type") != "gemma4_text":
        raise CheckpointError(f"{where}: model_type is {config.get('model_type')!r}; only 'gemma4_text' is exported")
    for name, allowed in _REFUSED.items():
        if config.get(name, allowed) != allowed:
            raise CheckpointError(f"{where}: {name} = {config[name]!r} cannot be exported; only {allowed!r} can")
    try:
        shape = _shape(config)
        complaints = [*_complaints(shape), *_rope_complaints(config["rope_parameters"]), *_table_complaints(config)]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CheckpointError(f"{where}: lacks or garbles {error}; it was written by another program") from error
    for complaint in complaints:
        raise CheckpointError(f"{where}: {complaint}")
    return shape


def with_sliding_layer(shape: Shape) -> Shape:
    """The same model with at least one sliding layer, without which llama.cpp aborts the whole process.

    Where all layers are full, the first is told as a sliding one whose window is the whole context. Full layers
    turn channel i with i + half of the head; sliding ones turn i with i + half of the channels that turn. So the
    first layer's rows are reordered (`names`), and its base is such that the same wavelengths come out.
    """
    if any(shape.sliding):
        return shape
    turning = 2 * int(shape.full_head_dim * shape.partial_rotary_factor / 2)
    return replace(
        shape,
        sliding=(True, *shape.sliding[1:]),
        sliding_head_dim=shape.full_head_dim,
        sliding_window=shape.context_length,
        sliding_turning=turning,
        sliding_theta=shape.full_theta ** (turning / shape.full_head_dim),
    )


def _shape(config: Mapping[str, Any]) -> Shape:
    sliding = tuple(kind == SLIDING for kind in config["layer_types"])
    shared = int(config.get("num_kv_shared_layers") or 0)
    wide = 2 if config.get("use_double_wide_mlp") else 1
    narrow, first = int(config["intermediate_size"]), len(sliding) - shared
    rope, cap = config["rope_parameters"], config.get("final_logit_softcapping")
    if len(sliding) != config["num_hidden_layers"]:
        raise ValueError(f"layer_types ({len(sliding)} for {config['num_hidden_layers']} layers)")
    return Shape(
        vocab_size=int(config["vocab_size"]),
        hidden_size=int(config["hidden_size"]),
        intermediate_sizes=tuple(narrow if layer < first else narrow * wide for layer in range(len(sliding))),
        num_attention_heads=int(config["num_attention_heads"]),
        num_key_value_heads=int(config["num_key_value_heads"]),
        sliding=sliding,
        sliding_head_dim=int(config["head_dim"]),
        full_head_dim=_full_head_dim(config),
        shared_layers=shared,
        table_size=int(config.get("hidden_size_per_layer_input") or 0),
        sliding_window=int(config["sliding_window"]),
        sliding_turning=int(config["head_dim"]),
        context_length=int(config["max_position_embeddings"]),
        rms_norm_eps=float(config["rms_norm_eps"]),
        sliding_theta=float(rope[SLIDING]["rope_theta"]),
        full_theta=float(rope[FULL]["rope_theta"]),
        partial_rotary_factor=float(rope[FULL]["partial_rotary_factor"]),
        softcapping=None if cap is None else float(cap),
    )


def _full_head_dim(config: Mapping[str, Any]) -> int:
    """From `per_layer_config`, which Transformers writes since 5.15, or else `global_head_dim`."""
    overrides = config.get("per_layer_config")
    if overrides is None:
        return int(config.get("global_head_dim") or _GLOBAL_HEAD_DIM)
    found = set()
    for layer, kind in enumerate(config["layer_types"]):
        own = {"head_dim": config["head_dim"], **overrides.get(str(layer), {})}
        if own.keys() > {"head_dim"} or (kind != FULL and own["head_dim"] != config["head_dim"]):
            raise ValueError(f"per_layer_config (layer {layer} has {own}; only full layers may differ, in head_dim)")
        found |= {int(own["head_dim"])} if kind == FULL else set()
    if len(found) != 1:
        raise ValueError(f"per_layer_config (full layers must have one head_dim, found {sorted(found)})")
    return found.pop()


def _complaints(shape: Shape) -> list[str]:
    """What llama.cpp would not load or, worse, would compute differently without a word."""
    heads = f"{shape.num_attention_heads} query heads cannot share {shape.num_key_value_heads} key/value heads"
    first, found = shape.first_shared, []
    if shape.sliding[-1:] != (False,):
        found.append("layer_types must end with full_attention; train or convert it so")
    if shape.num_key_value_heads < 1 or shape.num_attention_heads % shape.num_key_value_heads:
        found.append(heads)
    if len(shape.sliding) == 1:
        found.append("num_hidden_layers = 1; llama.cpp needs a sliding and a full layer at least")
    if shape.full_head_dim * shape.partial_rotary_factor < 2:
        found.append("partial_rotary_factor turns no channel of full attention; llama.cpp needs two at least")
    # llama.cpp lets full layers read the last layer that keeps its own cache and sliding ones the last but one
    kept = shape.sliding[max(first - 2, 0) : max(first, 0)]
    if shape.shared_layers and (len(kept) < 2 or kept[1] or (any(shape.sliding[first:]) and not kept[0])):
        found.append(
            f"num_kv_shared_layers = {shape.shared_layers} makes layers {first - 2} and {first - 1} the ones whose "
            "keys are shared; llama.cpp needs a sliding and then a full layer there"
        )
    return found


def _rope_complaints(rope: Mapping[str, Mapping[str, Any]]) -> list[str]:
    wanted = {SLIDING: "default", FULL: "proportional"}
    found = [
        f"rope_parameters.{kind}: rope_type is {rope[kind].get('rope_type')!r}; only {type_!r} can be exported"
        for kind, type_ in wanted.items()
        if rope[kind].get("rope_type") != type_
    ]
    if rope[SLIDING].get("partial_rotary_factor", 1.0) != 1.0 or rope[FULL].get("factor", 1.0) != 1.0:
        found.append("rope_parameters: partly turned sliding heads and scaled positions cannot be exported")
    return found


def _table_complaints(config: Mapping[str, Any]) -> list[str]:
    rows, vocab = config.get("vocab_size_per_layer_input"), config["vocab_size"]
    if not config.get("hidden_size_per_layer_input") or rows in (None, vocab):
        return []
    # Transformers fails on a token beyond the table, so there is no row that could rightly be added
    return [f"vocab_size_per_layer_input = {rows} differs from vocab_size = {vocab}; llama.cpp needs a row a token"]
