"""Names and configuration as Transformers spells them, both ways: one table each.

What Gemma 4 can be and our decoder is not is refused by name; nothing that changes a model is dropped in silence.
"""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from torch import Tensor

from minikin.base.errors import CheckpointError
from minikin.model.config import FULL, SLIDING, Config

# configuration fields that are the same word and the same value here and there
_SAME = (
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
    "hidden_size_per_layer_input",
    "num_kv_shared_layers",
    "use_double_wide_mlp",
    "sliding_window",
    "max_position_embeddings",
    "rms_norm_eps",
    "final_logit_softcapping",
    "bos_token_id",
    "pad_token_id",
)

# what Gemma 4 can be and our decoder is not: each must have this value or be absent
_REFUSED: Mapping[str, Any] = {
    "attention_bias": False,
    "attention_dropout": 0.0,
    "attention_k_eq_v": False,
    "enable_moe_block": False,
    "hidden_activation": "gelu_pytorch_tanh",
    "tie_word_embeddings": True,
    "use_bidirectional_attention": None,
}

# fields that have their own reading below, and fields that say nothing of what is computed
_READ = (
    "eos_token_id",
    "global_head_dim",
    "layer_types",
    "model_type",
    "per_layer_config",
    "rope_parameters",
    "vocab_size_per_layer_input",
)
_SILENT = (
    "_name_or_path",
    "architectures",
    "dtype",
    "initializer_range",
    "moe_intermediate_size",
    "num_experts",
    "num_global_key_value_heads",  # read only where attention_k_eq_v is set
    "top_k_experts",
    "torch_dtype",
    "transformers_version",
    "use_cache",
)
_ROPE = {
    SLIDING: {"rope_type": "default", "partial_rotary_factor": 1.0},
    FULL: {"rope_type": "proportional"},
}
_NEEDED = {SLIDING: ("rope_theta",), FULL: ("rope_theta", "rope_type", "partial_rotary_factor")}
# JSON writes whole numbers without a point
_WIDER: Mapping[Any, Any] = {float: int | float, float | None: int | float | None}
_GLOBAL_HEAD_DIM = 512  # what Transformers takes where nothing is said
_TEXT = "model.language_model."
_SAME_FOR_TEXT = {"use_bidirectional_attention": "vision"}  # only images are then looked at in both directions
_SHARED_KV = ("k_proj.weight", "v_proj.weight", "k_norm.weight", "v_norm.weight")


def stored_name(name: str) -> str:
    """The name of a weight in Transformers: our rooms `tables` and `table` are not spelled there."""
    return "model." + name.removeprefix("tables.").replace(".table.", ".")


def superfluous(name: str, config: Config) -> bool:
    """Whether a stored weight is never used: a copy of the tied head, or keys and values of a layer that shares."""
    if name == "lm_head.weight":
        return True
    layers = (
        f"model.layers.{layer}.self_attn." for layer in range(config.num_hidden_layers) if config.shares_kv(layer)
    )
    return any(name.removeprefix(layer) in _SHARED_KV for layer in layers if name.startswith(layer))


def stored_config(config: Config) -> dict[str, Any]:
    """The configuration as Transformers reads it.

    `global_head_dim` is what readers before Transformers 5.15 know, `per_layer_config` what later ones do.
    """
    full_layers = [str(index) for index, kind in enumerate(config.layer_types) if kind == FULL]
    head_dim = config.head_dim_of(FULL)
    return {
        "architectures": ["Gemma4ForCausalLM"],
        "model_type": "gemma4_text",
        **{name: getattr(config, name) for name in _SAME},
        **_REFUSED,
        "eos_token_id": list(config.eos_token_ids),
        "layer_types": list(config.layer_types),
        "vocab_size_per_layer_input": config.table_rows,
        "global_head_dim": head_dim,
        "per_layer_config": {index: {"head_dim": head_dim} for index in full_layers},
        "rope_parameters": {
            SLIDING: {"rope_type": "default", "rope_theta": config.sliding_rope_theta},
            FULL: {
                "rope_type": "proportional",
                "partial_rotary_factor": config.partial_rotary_factor,
                "rope_theta": config.full_rope_theta,
            },
        },
    }


def text_weights(stored: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The language model's weights, by the names that they have where there is nothing but text."""
    text = {f"model.{name.removeprefix(_TEXT)}": tensor for name, tensor in stored.items() if name.startswith(_TEXT)}
    return text or dict(stored)


def config_from(stored: Mapping[str, Any], where: str) -> Config:
    """Our configuration from Transformers'; raises CheckpointError naming a feature that we do not have.

    Of a model that also sees or hears ("gemma4") it is that of its language model.
    """
    stored = _of_text(stored, where)
    _refuse_unknown(stored, where)
    _refuse_other_types(stored, where)
    try:
        rope, eos = stored["rope_parameters"], stored["eos_token_id"]
        head_dim, rows = _global_head_dim(stored, where), stored.get("vocab_size_per_layer_input")
        return Config(
            **{name: stored[name] for name in _SAME},
            layer_types=tuple(stored["layer_types"]),
            global_head_dim=None if head_dim == stored["head_dim"] else head_dim,
            vocab_size_per_layer_input=None if rows == stored["vocab_size"] else rows,
            sliding_rope_theta=_rope_theta(rope, SLIDING, where),
            full_rope_theta=_rope_theta(rope, FULL, where),
            partial_rotary_factor=rope[FULL]["partial_rotary_factor"],
            eos_token_ids=tuple(eos) if isinstance(eos, list) else (eos,),
        )
    except KeyError as error:
        raise CheckpointError(f"{where}: lacks {error}; it was written by another program or cut short") from error
    except (TypeError, AttributeError, ValueError) as error:
        raise CheckpointError(f"{where}: a field is of another type than Gemma 4's ({error})") from error


def _of_text(stored: Mapping[str, Any], where: str) -> Mapping[str, Any]:
    """The language model's part; raises CheckpointError if there is none."""
    if not isinstance(stored, dict):
        raise CheckpointError(f"{where}: holds no JSON object; it was written by another program")
    if stored.get("model_type") == "gemma4" and isinstance(stored.get("text_config"), dict):
        outer = {name: stored[name] for name in ("eos_token_id", "tie_word_embeddings") if name in stored}
        stored = {**stored["text_config"], **outer}
    if stored.get("model_type") != "gemma4_text":
        raise CheckpointError(
            f"{where}: model_type is {stored.get('model_type')!r}; only 'gemma4_text' and 'gemma4' can be read"
        )
    return stored


def _refuse_unknown(stored: Mapping[str, Any], where: str) -> None:
    for name, allowed in _REFUSED.items():
        if stored.get(name, allowed) not in (allowed, _SAME_FOR_TEXT.get(name, allowed)):
            raise CheckpointError(f"{where}: {name} = {stored[name]!r} is not supported; only {allowed!r} is")
    for name in sorted(set(stored) - {*_SAME, *_REFUSED, *_READ, *_SILENT}):
        if stored[name] not in (None, False):
            raise CheckpointError(f"{where}: {name} = {stored[name]!r} is not known; this model cannot be read")


def _refuse_other_types(stored: Mapping[str, Any], where: str) -> None:
    """Refuse a field of another type than the same field has here; an absent one is told later."""
    for field in fields(Config):
        if field.name in stored and field.name in (*_SAME, "vocab_size_per_layer_input"):
            value, wanted = stored[field.name], _WIDER.get(field.type, field.type)
            if not isinstance(value, wanted) or isinstance(value, bool) != (wanted is bool):
                raise CheckpointError(f"{where}: {field.name} = {value!r} is of another type than Gemma 4's")


def _global_head_dim(stored: Mapping[str, Any], where: str) -> int:
    """The width of heads in full layers, in either spelling; anything else that differs between layers is refused."""
    if stored.get("per_layer_config") is None:
        return stored.get("global_head_dim", _GLOBAL_HEAD_DIM)
    overrides = {int(layer): told for layer, told in stored["per_layer_config"].items()}
    of_layer = [
        overrides.get(layer, {}).get("head_dim", stored["head_dim"]) for layer in range(len(stored["layer_types"]))
    ]
    of_kind = dict(zip(stored["layer_types"], of_layer, strict=True))
    for layer, kind in enumerate(stored["layer_types"]):
        told = overrides.get(layer, {})
        strange = any(name != "head_dim" and value != stored.get(name) for name, value in told.items())
        if strange or of_layer[layer] != (stored["head_dim"] if kind == SLIDING else of_kind[FULL]):
            raise CheckpointError(f"{where}: per_layer_config.{layer} = {told!r} is not supported")
    return of_kind.get(FULL, stored["head_dim"])


def _rope_theta(rope: Mapping[str, Any], kind: str, where: str) -> float:
    for name in _NEEDED[kind]:
        if name not in rope[kind]:
            raise CheckpointError(f"{where}: rope_parameters.{kind} lacks {name!r}")
    for name, value in rope[kind].items():
        known = name == "rope_theta" or (kind == FULL and name == "partial_rotary_factor")
        if not known and value is not None and value != _ROPE[kind].get(name):
            raise CheckpointError(f"{where}: rope_parameters.{kind}.{name} = {value!r} is not supported")
    return rope[kind]["rope_theta"]
