"""Copies the kept slices of a decoder into a smaller one. What to keep is chosen elsewhere.

Cutting nothing changes nothing: kept whole, every tensor is the same.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from minikin.base.errors import PlanError
from minikin.model.config import Config
from minikin.model.decoder import Decoder, empty
from minikin.shrink.importance import Importance, most_important

Positions = tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Kept:
    """Positions to keep, ascending. `intermediate` and `groups` have one entry for each kept layer."""

    layers: Positions
    hidden: Positions
    table: Positions
    intermediate: tuple[Positions, ...]
    groups: tuple[Positions, ...]


def choose(scores: Importance, config: Config) -> Kept:
    """The most important parts that fit the shape of `config`."""
    layers = most_important(scores.layers, config.num_hidden_layers)
    return Kept(
        layers=layers,
        hidden=most_important(scores.hidden, config.hidden_size),
        table=most_important(scores.table, config.hidden_size_per_layer_input),
        intermediate=tuple(most_important(scores.intermediate[at], config.intermediate_size) for at in layers),
        groups=tuple(most_important(scores.groups[at], config.num_key_value_heads) for at in layers),
    )


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
    """Raise PlanError if any size exceeds the parent's: a cut can only remove."""
    for name in (
        "num_hidden_layers",
        "hidden_size",
        "intermediate_size",
        "num_key_value_heads",
        "num_attention_heads",
        "hidden_size_per_layer_input",
    ):
        if getattr(config, name) > getattr(parent, name):
            raise PlanError(
                f"{name} is {getattr(config, name)}, larger than its parent's {getattr(parent, name)}; "
                "a member can only be cut to a smaller shape"
            )
    same_groups = config.num_attention_heads * parent.num_key_value_heads == (
        parent.num_attention_heads * config.num_key_value_heads
    )
    if config.head_dim != parent.head_dim or config.vocab_size != parent.vocab_size or not same_groups:
        raise PlanError("a cut keeps vocab_size, head_dim and the query heads of each key/value head")


def _slice(name: str, weights: dict[str, Tensor], parent: Config, config: Config, kept: Kept) -> Tensor:
    hidden, table = list(kept.hidden), list(kept.table)
    # the decoder multiplies embeddings by √width; what it multiplies by less is given back here
    hidden_ratio = (parent.hidden_size / config.hidden_size) ** 0.5
    if not name.startswith("layers."):
        source = weights[name]
        match name.removeprefix("tables."):
            case "embed_tokens.weight":
                return source[:, hidden] * hidden_ratio
            case "norm.weight":
                return source[hidden] / hidden_ratio
            case "embed_tokens_per_layer.weight":
                rows = source.view(len(source), parent.num_hidden_layers, -1)[:, list(kept.layers)][:, :, table]
                return (
                    rows.flatten(1) * (parent.hidden_size_per_layer_input / config.hidden_size_per_layer_input) ** 0.5
                )
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
    queries = parent.num_attention_heads // parent.num_key_value_heads * parent.head_dim
    match part.removesuffix(".weight").split(".")[-1]:
        case "q_proj":
            return _stretches(kept.groups[index], queries), hidden
        case "k_proj" | "v_proj":
            return _stretches(kept.groups[index], parent.head_dim), hidden
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
