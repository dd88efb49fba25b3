"""One more token of several conversations, in as few operations as can be.

What a decoder computes for one token is so little that most of the time goes into starting operations: here products,
heads and norms that lie side by side are made as one. The numbers are those of `Decoder`, up to the order of sums.
"""

from dataclasses import dataclass
from typing import cast, final

import torch
from torch import Tensor
from torch.nn import functional

from minikin.model.config import SLIDING, Config
from minikin.model.decoder import Decoder, Layer
from minikin.model.layers import Rotation, rotation_at
from minikin.model.linear import widened
from minikin.model.slots import Slots


@dataclass(frozen=True, kw_only=True)
class _Sight:
    """What layers of one type see with.

    Rotations are [slots, 1, head_dim]; `places` [slots · groups] are where new keys go in what is stored, `begin` and
    `count` the columns that some slot sees, and `mask` [slots · groups, 1, count] what keeps them from the others.
    """

    rotation: Rotation
    places: Tensor
    begin: int
    count: int
    mask: Tensor


@final
class Step:
    """A decoder on a processor, made ready to write. Weights that are put side by side here are held twice."""

    def __init__(self, decoder: Decoder) -> None:
        self._decoder, self._config = decoder, decoder.config
        self._norm = _Norm(decoder.config.hidden_size, decoder.config.rms_norm_eps)
        self._layers = [
            _OneToken(self._config, index, cast(Layer, layer)) for index, layer in enumerate(decoder.layers)
        ]

    @torch.inference_mode()
    def __call__(self, tokens: Tensor, slots: Slots) -> Tensor:
        """Logits of what follows `tokens` [taken], one for every slot that is taken: [taken, vocab]."""
        decoder, config = self._decoder, self._config
        places = list(slots.lengths)
        slots.grow()
        x = functional.embedding(tokens, decoder.embed_tokens.weight).float() * config.hidden_size**0.5
        offered = (None,) * len(self._layers) if decoder.tables is None else decoder.tables.of_each(tokens, x)
        sights = {kind: self._sight(kind, places, slots) for kind in dict.fromkeys(config.layer_types)}
        for layer, table in zip(self._layers, offered, strict=True):
            x = layer(x, table, sights[layer.kind], slots)
        return decoder.logits(self._norm(x) * decoder.norm.weight)

    def _sight(self, kind: str, places: list[int], slots: Slots) -> _Sight:
        longest, shortest = max(slots.lengths), min(slots.lengths)
        window = self._config.sliding_window if kind == SLIDING else longest
        begin = max(0, shortest - window)
        mask = torch.zeros(1, 1, 1)
        if longest > shortest or longest - begin > window:
            seen = torch.arange(begin, longest)
            at = torch.tensor([place for place in places for _ in range(slots.groups)])[:, None, None]
            mask = torch.where((seen > at) | (seen <= at - window), float("-inf"), 0.0)
        rows = (
            (slot * slots.groups + group, place) for slot, place in enumerate(places) for group in range(slots.groups)
        )
        return _Sight(
            rotation=rotation_at(torch.tensor(places), self._decoder.frequencies[kind]),
            places=torch.tensor([row * slots.room + place for row, place in rows]),
            begin=begin,
            count=longest - begin,
            mask=mask,
        )


@final
class _Norm:
    """x / √(mean(x²) + eps) over the last dimension; PyTorch's own takes three times as many operations."""

    def __init__(self, size: int, eps: float) -> None:
        self._eps, self._share = torch.tensor(eps), 1.0 / size

    def __call__(self, x: Tensor) -> Tensor:
        length = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
        return x * torch.addcmul(self._eps, length, length, value=self._share).rsqrt_()


@final
class _OneToken:
    """A layer for one token a slot."""

    def __init__(self, config: Config, index: int, layer: Layer) -> None:
        attention, fed, table = layer.self_attn, layer.mlp, layer.table
        self.kind, self._scalar = attention.kind, float(layer.layer_scalar)
        self._queries, self._head_dim = config.num_attention_heads, attention.head_dim
        projections = (attention.q_proj, attention.k_proj, attention.v_proj)
        self._to_heads = torch.cat([each.weight for each in projections if each is not None])
        counted = ((attention.q_norm, self._queries), (attention.k_norm, config.num_key_value_heads))
        self._scales = torch.cat([norm.weight.expand(count, -1) for norm, count in counted if norm is not None])
        self._from_heads = attention.o_proj.weight
        self._to_wide, self._from_wide = torch.cat([fed.gate_proj.weight, fed.up_proj.weight]), fed.down_proj.weight
        self._table = None
        if table is not None:
            scale = table.post_per_layer_input_norm.weight
            self._table = (table.per_layer_input_gate.weight, table.per_layer_projection.weight, scale)
        self._before = (layer.input_layernorm.weight, layer.pre_feedforward_layernorm.weight)
        self._after = (layer.post_attention_layernorm.weight, layer.post_feedforward_layernorm.weight)
        self._norm, self._norm_of_head = (
            _Norm(size, config.rms_norm_eps) for size in (config.hidden_size, attention.head_dim)
        )
        # whose keys and values are looked at: its own, or those of the last layer of its kind that has some
        alike = (other for other in range(index, -1, -1) if config.layer_types[other] == self.kind)
        self._owner = next(other for other in alike if not config.shares_kv(other))
        self._owns = self._owner == index

    def __call__(self, x: Tensor, offered: Tensor | None, sight: _Sight, slots: Slots) -> Tensor:
        mixed = self._attended(self._norm(x) * self._before[0], sight, slots)
        x = torch.addcmul(x, self._norm(_product(mixed, self._from_heads)), self._after[0])
        gate, up = _product(self._norm(x) * self._before[1], self._to_wide).chunk(2, -1)
        fed = _product(functional.gelu(gate, approximate="tanh") * up, self._from_wide)
        x = torch.addcmul(x, self._norm(fed), self._after[1])
        if self._table is not None and offered is not None:
            to_table, from_table, scale = self._table
            gate = functional.gelu(_product(x, to_table), approximate="tanh")
            x = torch.addcmul(x, self._norm(_product(gate * offered, from_table)), scale)
        return x if self._scalar == 1.0 else x * self._scalar

    def _attended(self, x: Tensor, sight: _Sight, slots: Slots) -> Tensor:
        heads = self._norm_of_head(_product(x, self._to_heads).view(len(x), -1, self._head_dim))
        turning, size = len(self._scales), self._head_dim
        turned = heads.narrow(1, 0, turning) * self._scales
        rolled = turned.roll(size // 2, -1)
        turned = torch.addcmul(turned * sight.rotation.cosine, rolled, sight.rotation.sine)
        keys, values = slots.keys[self._owner], slots.values[self._owner]
        assert keys is not None
        assert values is not None
        rows = len(sight.places)
        if self._owns:
            for stored, fresh in ((keys, turned[:, self._queries :]), (values, heads[:, turning:])):
                stored.view(-1, size).index_copy_(0, sight.places, fresh.reshape(rows, size))
        seen, said = (s.narrow(0, 0, rows).narrow(1, sight.begin, sight.count) for s in (keys, values))
        query = turned.narrow(1, 0, self._queries).reshape(rows, -1, size)
        shares = torch.softmax(torch.baddbmm(sight.mask, query, seen.transpose(1, 2)), -1)
        return torch.bmm(shares, said).view(len(x), -1)


def _product(x: Tensor, weight: Tensor) -> Tensor:
    return functional.linear(x, widened(weight))
