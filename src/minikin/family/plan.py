"""Budgets to shapes: what every member will be, counted before anything is trained.

A budget is a share of another member's operations a token (compute) or bytes (memory). Of the shapes that use
at least 95 % of it and never more, the planner takes the one whose proportions are nearest to the reference's:
in the published family layers, hidden size and table width shrink together. Rows that are no whole blocks count
against a shape as well, for they keep 16 bits in a file of 8 or 4.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import log

from minikin.base.errors import CheckpointError, PlanError
from minikin.family.fields import MAX_POSITIONS
from minikin.family.origin import origin_config
from minikin.family.phases import Phase, phases
from minikin.family.recipe import Member, Recipe, Shape
from minikin.model.config import Config, alternating_layer_types
from minikin.shrink.choose import layer_kinds
from minikin.shrink.cut import refuse_larger
from minikin.shrink.grid import BLOCK

_USE = 0.95
_SLIDING_PER_FULL = 2  # where nothing is said
_GRID = 8  # sizes are multiples of this; more of it would only cost budgets
_FEW_BITS = (8.5, 4.5)  # of a weight in a whole block, its part of the scale included


@dataclass(frozen=True, kw_only=True)
class Budget:
    """Most multiplied weights and most weights in all that a shape may have."""

    multiplied: int
    parameters: int


@dataclass(frozen=True, kw_only=True)
class PlannedMember:
    """A member's shape and its trainings, by name; ratios are against the family's first member."""

    name: str
    config: Config
    compute_ratio: float
    memory_ratio: float
    phases: dict[str, Phase]

    @property
    def training_tokens(self) -> int:
        """Of all its trainings."""
        return sum(phase.tokens for phase in self.phases.values())

    @property
    def training_flops(self) -> float:
        """Operations of all its trainings."""
        return sum(phase.tokens * phase.flops_per_token for phase in self.phases.values())


def plan(recipe: Recipe) -> dict[str, PlannedMember]:
    """All members of a recipe, in its order; raises PlanError if a budget meets no shape."""
    planned: dict[str, PlannedMember] = {}
    for name, member in recipe.member.items():
        config = _config(name, member, recipe, planned)
        first = planned[recipe.first].config if planned else config
        configs = {other: each.config for other, each in planned.items()} | {name: config}
        planned[name] = PlannedMember(
            name=name,
            config=config,
            compute_ratio=config.flops_per_token() / first.flops_per_token(),
            memory_ratio=config.bytes_at(16) / first.bytes_at(16),
            phases=phases(name, member, recipe.quantize, configs),
        )
    return planned


def config_of(shape: Shape, vocab_size: int) -> Config:
    """The configuration that a recipe's shape spells."""
    per_full = _SLIDING_PER_FULL if shape.sliding_per_full is None else shape.sliding_per_full
    return Config(
        vocab_size=vocab_size,
        layer_types=alternating_layer_types(shape.num_hidden_layers, per_full),
        max_position_embeddings=MAX_POSITIONS,
        **shape.model_dump(exclude_none=True, exclude={"sliding_per_full"}),
    )


def solve(reference: Config, largest: Config, budget: Budget) -> Config:
    """The shape nearest to the reference's proportions that meets a budget and fits inside `largest`.

    If the grid of shapes cannot use 95 % of both budgets, the one that uses most of them is taken.
    """
    candidates = list(_candidates(reference, largest, budget))
    if not candidates:
        least = _shape(largest, _GRID, 1, 1, _GRID, _GRID if largest.hidden_size_per_layer_input else 0)
        raise PlanError(
            f"no shape has at most {budget.multiplied:,} multiplied and {budget.parameters:,} weights in all; "
            f"the smallest has {least.multiplied:,} and {least.parameters:,}, most of them for a vocabulary of "
            f"{reference.vocab_size:,}; give more compute or memory, or a smaller tokenizer.vocab_size"
        )
    return min(candidates, key=lambda config: _price(config, reference, budget))


def _config(name: str, member: Member, recipe: Recipe, planned: dict[str, PlannedMember]) -> Config:
    if member.origin is not None:
        return origin_config(member.origin)
    if member.shape is not None:
        try:
            config = _shaped(member, recipe, planned)
        except CheckpointError as error:
            raise PlanError(f"member.{name}.shape: {error}") from error
        if member.parent:
            _refuse_larger(name, config, planned[member.parent])
        return config
    reference = planned[member.of or recipe.first].config
    largest = planned[member.parent].config if member.parent else reference
    try:
        return solve(reference, largest, _budget(member, reference))
    except PlanError as error:
        raise PlanError(f"member.{name}: {error}") from error


def _shaped(member: Member, recipe: Recipe, planned: dict[str, PlannedMember]) -> Config:
    """A member's shape; what it does not spell is as in the member above it, which may be anybody's checkpoint."""
    assert member.shape is not None
    if not planned:
        return config_of(member.shape, recipe.vocabulary.vocab_size)
    like, layers = planned[member.parent or recipe.first].config, member.shape.num_hidden_layers
    told = member.shape.model_dump(exclude_none=True, exclude={"sliding_per_full"})
    if member.shape.sliding_per_full is not None:
        told["layer_types"] = alternating_layer_types(layers, member.shape.sliding_per_full)
        return replace(like, **{"num_kv_shared_layers": 0} | told)
    kinds, shared = layer_kinds(like, layers)
    return replace(like, **{"num_kv_shared_layers": shared, "layer_types": kinds} | told)


def _refuse_larger(name: str, config: Config, parent: PlannedMember) -> None:
    try:
        refuse_larger(config, parent.config)
    except PlanError as error:
        raise PlanError(f"member.{name}.shape: {error} (parent: {parent.name})") from error


def _budget(member: Member, reference: Config) -> Budget:
    # bytes follow the number of weights at any precision, so memory is counted in weights
    return Budget(
        multiplied=int(reference.multiplied * (member.compute or 1.0)),
        parameters=int(reference.parameters * (member.memory or 1.0)),
    )


def _candidates(reference: Config, largest: Config, budget: Budget) -> Iterator[Config]:
    """For every width, depth, number of groups and table: the widest feed-forward that both budgets allow."""
    for hidden in range(_GRID, largest.hidden_size + 1, _GRID):
        if hidden * reference.vocab_size > budget.multiplied:
            return
        for layers in range(1, largest.num_hidden_layers + 1):
            for groups in _groups(hidden, reference, largest):
                for table in _tables(hidden, layers, reference, largest, budget):
                    bare = _shape(largest, hidden, layers, groups, 0, table)
                    room = min(budget.multiplied - bare.multiplied, budget.parameters - bare.parameters)
                    widths = layers + bare.num_kv_shared_layers * bare.use_double_wide_mlp
                    width = min(room // (3 * hidden * widths) // _GRID * _GRID, largest.intermediate_size)
                    if width >= _GRID:
                        yield replace(bare, intermediate_size=width)


def _groups(hidden: int, reference: Config, largest: Config) -> Iterator[int]:
    """Numbers of key/value heads around the reference's proportion to the width."""
    ideal = reference.num_key_value_heads * hidden / reference.hidden_size
    for groups in range(1, largest.num_key_value_heads + 1):
        if ideal - 1 < groups < ideal + 1 or groups == largest.num_key_value_heads < ideal:
            yield groups


def _tables(hidden: int, layers: int, reference: Config, largest: Config, budget: Budget) -> Iterator[int]:
    """Widths of a table that the memory budget leaves after a feed-forward of any size."""
    if not largest.hidden_size_per_layer_input:
        yield 0
        return
    most = budget.parameters // (layers * (reference.table_rows + 3 * hidden))
    yield from range(_GRID, min(most, largest.hidden_size_per_layer_input) + 1, _GRID)


def _shape(like: Config, hidden: int, layers: int, groups: int, intermediate: int, table: int) -> Config:
    layer_types, shared = layer_kinds(like, layers)
    return replace(
        like,
        num_kv_shared_layers=shared,
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_key_value_heads=groups,
        num_attention_heads=groups * (like.num_attention_heads // like.num_key_value_heads),
        intermediate_size=max(1, intermediate),
        hidden_size_per_layer_input=table,
        layer_types=layer_types,
    )


def _price(config: Config, reference: Config, budget: Budget) -> float:
    """Distance from the reference's proportions; unused budget beyond the allowed 5 % outweighs any of it."""
    unused = max(0.0, _USE - config.multiplied / budget.multiplied)
    unused += max(0.0, _USE - config.parameters / budget.parameters)
    proportions = (
        (config.num_hidden_layers / config.hidden_size, reference.num_hidden_layers / reference.hidden_size),
        (config.intermediate_size / config.hidden_size, reference.intermediate_size / reference.hidden_size),
        (config.num_key_value_heads / config.hidden_size, reference.num_key_value_heads / reference.hidden_size),
    )
    return 1000 * unused + _growth(config) + sum(abs(log(mine / theirs)) for mine, theirs in proportions)


def _growth(config: Config) -> float:
    """By which factors (their logarithms, added) files of few bits grow because of rows that are no whole blocks."""
    rows = config.weights_by_row()
    ragged = sum(weights for length, weights in rows.items() if length % BLOCK) / sum(rows.values())
    return sum(log(1 + ragged * (16 / bits - 1)) for bits in _FEW_BITS)
