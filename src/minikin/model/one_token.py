"""A layer for one token of several conversations, in as few operations as can be.

What is computed for one token is so little that most of the time goes into starting operations: here products, heads
and norms that lie side by side are made as one. The numbers are those of `Layer`, up to the order of sums.
"""

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor
from torch.nn import functional

from minikin.model.config import Config
from minikin.model.decoder import Layer
from minikin.model.layers import Attention, FeedForward
from minikin.model.linear import widened
from minikin.model.norm import RMSNorm
from minikin.model.tables import TableGate


@dataclass(frozen=True, kw_only=True)
class StepSight:
    """What layers of one type see with.

    `cosine` and `sine` of the rotation are [slots, heads, head_dim] for queries, keys and values; the last are not
    turned. Of each layer that has keys and values of its own there are the `rows` that they are written to
    [2 · slots · groups · columns, head_dim], at `places` [slots · 2 · groups], and the `keys`
    [slots · groups, head_dim, seen] and `values` [slots · groups, seen, head_dim] that are seen then. `mask`
    [slots · groups, 1, seen] keeps from a slot what is not its own, or beyond its window; None if nothing is.
    """

    cosine: Tensor
    sine: Tensor
    rows: tuple[Tensor, ...]
    places: Tensor
    keys: tuple[Tensor, ...]
    values: tuple[Tensor, ...]
    mask: Tensor | None


@final
class Product:
    """x · Wᵀ for weights that lie side by side, as then does what they give; such are held twice."""

    def __init__(self, weight: Tensor, *more: Tensor) -> None:
        self._weight = (torch.cat((weight, *more)) if more else weight).t()

    def __call__(self, x: Tensor) -> Tensor:
        return torch.mm(x, widened(self._weight))


@final
class Norm:
    """scale · x / √(mean(x²) + eps), as √n · scale · x / hypot(‖x‖, √(n · eps)): that is two operations less."""

    def __init__(self, scale: Tensor, eps: float) -> None:
        size = scale.shape[-1]
        self._least, self._scale = torch.tensor((size * eps) ** 0.5), widened(scale) * size**0.5

    @classmethod
    def of(cls, norm: RMSNorm) -> "Norm":
        """The same as this one."""
        return cls(norm.weight, norm.eps)

    def __call__(self, x: Tensor) -> Tensor:
        return self._unit(x) * self._scale

    def added(self, residual: Tensor, x: Tensor) -> Tensor:
        """The residual stream plus the normalised x."""
        return torch.addcmul(residual, self._unit(x), self._scale)

    def _unit(self, x: Tensor) -> Tensor:
        return x / torch.hypot(torch.linalg.vector_norm(x, dim=-1, keepdim=True), self._least)


@final
class OneToken:
    """A layer; one that has no keys and values of its own sees those of the last one of its type that has some."""

    def __init__(self, layer: Layer, config: Config, index: int) -> None:
        self.kind, self._scalar = layer.self_attn.kind, float(layer.layer_scalar)
        alike = [other for other in range(index + 1) if config.layer_types[other] == self.kind]
        self._mixing = _Mixing(layer.self_attn, config, sum(not config.shares_kv(other) for other in alike) - 1)
        self._feeding = _Feeding(layer.mlp)
        self._gating = None if layer.table is None else _Gating(layer.table)
        self._before, self._after = Norm.of(layer.input_layernorm), Norm.of(layer.post_attention_layernorm)
        self._before_feeding = Norm.of(layer.pre_feedforward_layernorm)
        self._after_feeding = Norm.of(layer.post_feedforward_layernorm)

    def __call__(self, x: Tensor, offered: Tensor | None, sight: StepSight) -> Tensor:
        """The residual stream after it [slots, hidden], from the one before and its table's rows [slots, table]."""
        x = self._after.added(x, self._mixing(self._before(x), sight))
        x = self._after_feeding.added(x, self._feeding(self._before_feeding(x)))
        if self._gating is not None and offered is not None:
            x = self._gating(x, offered)
        return x if self._scalar == 1.0 else x * self._scalar


@final
class _Mixing:
    """Attention; `owner` is the place of the keys and values that it sees among those of its type."""

    def __init__(self, attention: Attention, config: Config, owner: int) -> None:
        self._head_dim, self._owner = attention.head_dim, owner
        projections = (attention.q_proj, attention.k_proj, attention.v_proj)
        self._to_heads = Product(*(each.weight for each in projections if each is not None))
        self._from_heads = Product(attention.o_proj.weight)
        queries, groups = config.num_attention_heads, config.num_key_value_heads
        # shapes: of queries by the keys that they look at, and of all heads' output side by side
        self._queries, self._mixed = (-1, queries // groups, attention.head_dim), (-1, queries * attention.head_dim)
        self._parts, scales = [queries], [attention.q_norm.weight.expand(queries, -1)]
        if attention.k_norm is not None:
            plain = torch.ones(groups, attention.head_dim)  # the values' norm has no scale
            self._parts, scales = [queries, 2 * groups], [*scales, attention.k_norm.weight.expand(groups, -1), plain]
        self._norm, self._heads = Norm(torch.cat(scales), config.rms_norm_eps), sum(self._parts)

    def __call__(self, x: Tensor, sight: StepSight) -> Tensor:
        heads = self._norm(self._to_heads(x).view(-1, self._heads, self._head_dim))
        cosine, sine = sight.cosine, sight.sine
        if len(self._parts) == 1:
            cosine, sine = cosine.narrow(1, 0, self._heads), sine.narrow(1, 0, self._heads)
        turned = torch.addcmul(heads * cosine, heads.roll(self._head_dim // 2, -1), sine)
        query, *fresh = turned.split_with_sizes(self._parts, 1)
        for keys_and_values in fresh:
            rows = keys_and_values.reshape(-1, self._head_dim)
            sight.rows[self._owner].index_copy_(0, sight.places, rows)
        keys, values = sight.keys[self._owner], sight.values[self._owner]
        scores = torch.bmm(query.reshape(self._queries), keys)
        if sight.mask is not None:
            scores += sight.mask
        return self._from_heads(torch.bmm(torch.softmax(scores, -1), values).view(self._mixed))


@final
class _Feeding:
    """The feed-forward."""

    def __init__(self, fed: FeedForward) -> None:
        self._to_wide = Product(fed.gate_proj.weight, fed.up_proj.weight)
        self._from_wide, self._widths = Product(fed.down_proj.weight), (fed.gate_proj.out_features,) * 2

    def __call__(self, x: Tensor) -> Tensor:
        gate, up = self._to_wide(x).split_with_sizes(self._widths, 1)
        return self._from_wide(functional.gelu(gate, approximate="tanh") * up)


@final
class _Gating:
    """What the residual stream takes of what the table offers, added to it."""

    def __init__(self, table: TableGate) -> None:
        self._to_table = Product(table.per_layer_input_gate.weight)
        self._from_table = Product(table.per_layer_projection.weight)
        self._norm = Norm.of(table.post_per_layer_input_norm)

    def __call__(self, x: Tensor, offered: Tensor) -> Tensor:
        gate = functional.gelu(self._to_table(x), approximate="tanh")
        return self._norm.added(x, self._from_table(gate * offered))
