"""Copies the kept slices of a decoder into a smaller one. What to keep is chosen elsewhere.

Cutting nothing changes nothing: kept whole, every tensor is the same.
"""

import torch
from torch import Tensor

from minikin.base.errors import PlanError
from minikin.model.config import Config
from minikin.model.decoder import Decoder, empty
from minikin.model.linear import widened
from minikin.shrink.choose import Kept, Positions, matching_layers


@torch.no_grad()
def cut(parent: Decoder, config: Config, kept: Kept) -> Decoder:
    """A decoder of shape `config` with the kept slices of its parent's weights."""
    refuse_larger(config, parent.config)
    child = empty(config)
    weights = parent.state_dict()
    for name, target in child.state_dict().items():
        target.copy_(_slice(name, weights, parent.config, config, kept))
    return child


def refuse_larger(config: Config, parent: Config) -> None:
    """Raise PlanError if any size exceeds the parent's or no choice of layers fits: a cut can only remove."""
    for name in (
        "num_hidden_layers",
        "hidden_size",
        "intermediate_size",
        "num_key_value_heads",
        "num_attention_heads",
        "hidden_size_per_layer_input",
        "num_kv_shared_layers",
    ):
        if getattr(config, name) > getattr(parent, name):
            raise PlanError(
                f"{name} is {getattr(config, name)}, larger than its parent's {getattr(parent, name)}; "
                "a member can only be cut to a smaller shape"
            )
    same_groups = config.num_attention_heads * parent.num_key_value_heads == (
        parent.num_attention_heads * config.num_key_value_heads
    )
    same = all(getattr(config, name) == getattr(parent, name) for name in ("head_dim", "vocab_size", "table_rows"))
    if not same or not same_groups:
        raise PlanError("a cut keeps vocab_size, head_dim and the query heads of each key/value head")
    matching_layers([0.0] * parent.num_hidden_layers, parent, config)


def _slice(name: str, weights: dict[str, Tensor], parent: Config, config: Config, kept: Kept) -> Tensor:
    hidden, table = list(kept.hidden), list(kept.table)
    # the decoder multiplies embeddings by √width; what it multiplies by less is given back here
    hidden_ratio = (parent.hidden_size / config.hidden_size) ** 0.5
    if not name.startswith("layers."):
        source = weights[name]
        match name.removeprefix("tables."):
            case "embed_tokens.weight":
                return widened(source[:, hidden]) * hidden_ratio
            case "norm.weight":
                return widened(source[hidden]) / hidden_ratio
            case "embed_tokens_per_layer.weight":
                rows = source.view(len(source), parent.num_hidden_layers, -1)[:, list(kept.layers)][:, :, table]
                table_ratio = (parent.hidden_size_per_layer_input / config.hidden_size_per_layer_input) ** 0.5
                return widened(rows.flatten(1)) * table_ratio
            case "per_layer_model_projection.weight":
                rows = source.view(parent.num_hidden_layers, -1, parent.hidden_size)[list(kept.layers)][:, table]
                return rows.flatten(0, 1)[:, hidden]
            case _:
                return source[table]
    _, index, part = name.split(".", 2)
    source = weights[f"layers.{kept.layers[int(index)]}.{part}"]
    rows, columns = _kept_of(part, int(index), parent, kept)
    source = source if rows is None else source[rows]
    return source if columns is None else source[:, columns]


def _kept_of(part: str, index: int, parent: Config, kept: Kept) -> tuple[list[int] | None, list[int] | None]:
    """Which rows and columns of a layer's tensor are kept; None for all."""
    hidden, intermediate, table = list(kept.hidden), list(kept.intermediate[index]), list(kept.table)
    head_dim = parent.head_dim_of(parent.layer_types[kept.layers[index]])
    queries = parent.num_attention_heads // parent.num_key_value_heads * head_dim
    match part.removesuffix(".weight").split(".")[-1]:
        case "q_proj":
            return _stretches(kept.groups[index], queries), hidden
        case "k_proj" | "v_proj":
            return _stretches(kept.groups[index], head_dim), hidden
        case "o_proj":
            return hidden, _stretches(kept.groups[index], queries)
        case "gate_proj" | "up_proj":
            return intermediate, hidden
        case "down_proj":
            return hidden, intermediate
        case "per_layer_input_gate":
            return table, hidden
        case "per_layer_projection":
            return hidden, table
        case "q_norm" | "k_norm" | "layer_scalar":
            return None, None
        case _:
            return hidden, None


def _stretches(groups: Positions, width: int) -> list[int]:
    return [group * width + channel for group in groups for channel in range(width)]
