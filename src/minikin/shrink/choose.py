"""Chooses what a cut keeps: the most important parts that fit the smaller shape.

Any layer can take the place of any other, with two exceptions: layers whose heads are of another width, and layers that
share keys and values. The latter see what one certain layer offers, so that one has to come along, in the same place.
"""

from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

from torch import Tensor

from minikin.base.errors import CheckpointError, PlanError
from minikin.model.config import FULL, Config, alternating_layer_types
from minikin.shrink.importance import Importance

Positions = tuple[int, ...]
Role = Literal["own", "offers", "shares"]  # own keys and values; own ones that others share; another layer's
_NEVER = float("-inf")


@dataclass(frozen=True, kw_only=True)
class Kept:
    """Positions to keep, ascending. `intermediate` and `groups` have one entry for each kept layer."""

    layers: Positions
    hidden: Positions
    table: Positions
    intermediate: tuple[Positions, ...]
    groups: tuple[Positions, ...]


def choose(scores: Importance, parent: Config, config: Config) -> Kept:
    """The most important parts of a parent that fit the shape of `config`."""
    layers = matching_layers(scores.layers.tolist(), parent, config)
    return Kept(
        layers=layers,
        hidden=most_important(scores.hidden, config.hidden_size),
        table=most_important(scores.table, config.hidden_size_per_layer_input),
        intermediate=tuple(
            most_important(scores.intermediate[at], config.intermediate_size_of(layer))
            for layer, at in enumerate(layers)
        ),
        groups=_groups(scores.groups, layers, config),
    )


def most_important(scores: Tensor, count: int) -> Positions:
    """Positions of the `count` largest scores, in ascending order."""
    return tuple(scores.topk(count).indices.sort().values.tolist())


def matching_layers(scores: list[float], parent: Config, config: Config) -> Positions:
    """The parent's layers of the largest total score, in order, each fit for its place in `config`.

    Dynamic programming over places and layers. Raises PlanError if no choice of layers fits.
    """
    # the best choice for the places so far, by how many of the parent's layers it may use
    best: list[tuple[float, Positions]] = [(0.0, ())] * (len(scores) + 1)
    for place in range(config.num_hidden_layers):
        longer: list[tuple[float, Positions]] = [(_NEVER, ())]
        for at, score in enumerate(scores):
            before, chosen = best[at]
            taken = (before + score, (*chosen, at)) if _fits(parent, at, config, place) else (_NEVER, ())
            longer.append(max(longer[-1], taken, key=lambda found: found[0]))
        best = longer
    total, chosen = best[-1]
    if total == _NEVER:
        raise PlanError(
            f"of the parent's layers no {config.num_hidden_layers} can be kept for the asked layer_types and "
            f"{config.num_kv_shared_layers} layers that share keys and values; ask for a shape more like the parent's"
        )
    return chosen


@lru_cache
def layer_kinds(like: Config, layers: int) -> tuple[tuple[str, ...], int]:
    """layer_types for fewer layers, and how many of them share keys and values, such that `like` has layers for them.

    The same rhythm of sliding and full layers, if that can be had; else the kinds of layers taken evenly from `like`.
    """
    share = like.num_kv_shared_layers * layers // like.num_hidden_layers
    first_full = like.layer_types.index(FULL)
    for kinds, shared in ((alternating_layer_types(layers, first_full), share), _taken_evenly(like, layers, share)):
        with suppress(PlanError, CheckpointError):
            config = replace(like, num_hidden_layers=layers, layer_types=kinds, num_kv_shared_layers=shared)
            matching_layers([0.0] * like.num_hidden_layers, like, config)
            return kinds, shared
    return alternating_layer_types(layers, first_full), 0  # too few for what is tied together; refused where it is used


def _taken_evenly(like: Config, layers: int, shared: int) -> tuple[tuple[str, ...], int]:
    roles = [_role(like, layer) for layer in range(like.num_hidden_layers)]
    offers = [layer for layer, role in enumerate(roles) if role == "offers"] if shared else []
    own = [layer for layer, role in enumerate(roles) if role != "shares" and layer not in offers]
    sharing = [layer for layer, role in enumerate(roles) if role == "shares"]
    taken = _evenly(own, layers - shared - len(offers)) + offers + _evenly(sharing, shared)
    return tuple(like.layer_types[layer] for layer in sorted(taken)), shared


def _evenly(layers: list[int], count: int) -> list[int]:
    """So many of them, the last one among them."""
    return [layers[len(layers) * (place + 1) // count - 1] for place in range(max(0, min(count, len(layers))))]


def _fits(parent: Config, at: int, config: Config, place: int) -> bool:
    theirs, ours = _role(parent, at), _role(config, place)
    same_kind = parent.layer_types[at] == config.layer_types[place]
    if ours != "own":
        return theirs == ours and same_kind
    alike = parent.head_dim_of(parent.layer_types[at]) == config.head_dim_of(config.layer_types[place])
    return theirs != "shares" and alike


def _role(config: Config, layer: int) -> Role:
    if config.shares_kv(layer):
        return "shares"
    own = config.num_hidden_layers - config.num_kv_shared_layers
    kind = config.layer_types[layer]
    offers = kind in config.layer_types[own:] and kind not in config.layer_types[layer + 1 : own]
    return "offers" if offers else "own"


def _groups(scores: Tensor, layers: Positions, config: Config) -> tuple[Positions, ...]:
    """Key/value groups of every kept layer; layers that share keys and values keep the same ones."""
    offering = {kind: place for place, kind in enumerate(config.layer_types) if not config.shares_kv(place)}
    sources = [offering[kind] if config.shares_kv(place) else place for place, kind in enumerate(config.layer_types)]
    totals = {source: scores[0] * 0 for source in sources}
    for place, source in enumerate(sources):
        totals[source] = totals[source] + scores[layers[place]]
    return tuple(most_important(totals[source], config.num_key_value_heads) for source in sources)
