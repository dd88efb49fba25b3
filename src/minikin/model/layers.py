"""The parts a decoder layer is assembled from: rotary positions, attention, feed-forward.

As in Gemma 4: every part is normalised before and after ("sandwich"), queries and keys carry a learned
normalisation, values one without scale, and attention scores are not divided by √head_dim.
"""

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional

from minikin.base.shapes import Hidden, Keys, Positions, Values
from minikin.model.blocks import Part, attended_in_parts
from minikin.model.cache import LayerCache
from minikin.model.config import FULL, Config
from minikin.model.linear import Linear
from minikin.model.norm import RMSNorm, normalized


@dataclass(frozen=True, kw_only=True)
class Rotation:
    """Cosines and signed sines of the rotary angles, each [batch, time, 1, head_dim]."""

    cosine: Tensor
    sine: Tensor


KeyValues = tuple[Keys, Values]


@dataclass(frozen=True, kw_only=True)
class Sight:
    """What layers of one type see with: the rotation of every position, and which positions it may look at.

    `parts` are the batch's rows, whole or in blocks, each with its mask.
    """

    rotation: Rotation
    parts: tuple[Part, ...]


@final
class Attention(nn.Module):
    """Grouped-query attention with normalised queries, keys and values."""

    def __init__(self, config: Config, layer: int) -> None:
        super().__init__()
        self.kind, self.eps = config.layer_types[layer], config.rms_norm_eps
        self.head_dim = config.head_dim_of(self.kind)
        queries, keys = (heads * self.head_dim for heads in (config.num_attention_heads, config.num_key_value_heads))
        self.q_proj = Linear(config.hidden_size, queries)
        self.q_norm = RMSNorm(self.head_dim, config.rms_norm_eps)
        shared = config.shares_kv(layer)
        self.k_proj = None if shared else Linear(config.hidden_size, keys)
        self.v_proj = None if shared else Linear(config.hidden_size, keys)
        self.k_norm = None if shared else RMSNorm(self.head_dim, config.rms_norm_eps)
        self.o_proj = Linear(queries, config.hidden_size)

    def forward(self, x: Hidden, sight: Sight, cache: LayerCache | None, told: dict[str, KeyValues]) -> Tensor:
        """What the heads say, [batch, time, heads · head_dim]; `o_proj` is left to the caller, who may pick first.

        `told` holds the latest keys and values of each layer type: a layer adds its own, or looks at what is there.
        """
        query = rotate(self.q_norm(self._heads(self.q_proj(x))), sight.rotation).transpose(1, 2)
        if self.k_proj is not None and self.v_proj is not None and self.k_norm is not None:
            key = rotate(self.k_norm(self._heads(self.k_proj(x))), sight.rotation).transpose(1, 2)
            value = normalized(self._heads(self.v_proj(x)), self.eps).transpose(1, 2)
            told[self.kind] = (key, value) if cache is None else cache.extended(key, value)
        mixed = attended_in_parts(query, *told[self.kind], sight.parts)
        return mixed.transpose(1, 2).flatten(2)

    def _heads(self, x: Tensor) -> Tensor:
        return x.view(*x.shape[:-1], -1, self.head_dim)


@final
class FeedForward(nn.Module):
    """A feed-forward gated by GELU (Shazeer 2020, "GEGLU"; tanh approximation)."""

    def __init__(self, config: Config, layer: int) -> None:
        super().__init__()
        intermediate = config.intermediate_size_of(layer)
        self.gate_proj = Linear(config.hidden_size, intermediate)
        self.up_proj = Linear(config.hidden_size, intermediate)
        self.down_proj = Linear(intermediate, config.hidden_size)

    def forward(self, x: Hidden) -> Hidden:
        return self.down_proj(functional.gelu(self.gate_proj(x), approximate="tanh") * self.up_proj(x))


def inverse_frequencies(config: Config, layer_type: str) -> Tensor:
    """Radians a position for each pair of channels, [head_dim / 2].

    Sliding layers turn all pairs (Su et al. 2021); full layers only the first `partial_rotary_factor`
    of them, with the exponents of the whole head ("proportional"), and leave the others unturned.
    """
    head_dim = config.head_dim_of(layer_type)
    pairs = head_dim // 2
    theta = config.full_rope_theta if layer_type == FULL else config.sliding_rope_theta
    turned = int(config.partial_rotary_factor * head_dim // 2) if layer_type == FULL else pairs
    frequencies = theta ** -(torch.arange(0, 2 * turned, 2, dtype=torch.float32, device="cpu") / head_dim)
    return torch.cat((frequencies, torch.zeros(pairs - turned, device="cpu")))


def rotation_at(positions: Positions, frequencies: Tensor) -> Rotation:
    """Rotary factors of every position, ready to multiply heads with."""
    angles = positions[..., None, None].float() * frequencies
    sine = angles.sin()
    # the sign of rotate-half is folded into the sine: the swapped halves then need no negation
    return Rotation(cosine=torch.cat((angles.cos(),) * 2, -1), sine=torch.cat((-sine, sine), -1))


def rotate(x: Tensor, rotation: Rotation) -> Tensor:
    """Turn channel i of a head with channel i + head_dim/2; x is [batch, time, heads, head_dim]."""
    return torch.addcmul(x * rotation.cosine, x.roll(x.shape[-1] // 2, -1), rotation.sine)
