"""The parts a decoder layer is assembled from: rotary positions, attention, feed-forward.

As in Gemma 4: every part is normalised before and after ("sandwich"), queries and keys carry a learned
normalisation, values one without scale, and attention scores are not divided by √head_dim.
"""

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional

from minikin.base.shapes import Hidden, Mask, Positions
from minikin.model.attention import attended
from minikin.model.cache import LayerCache
from minikin.model.config import FULL, Config
from minikin.model.norm import RMSNorm, normalized


@dataclass(frozen=True, kw_only=True)
class Rotation:
    """Cosines and signed sines of the rotary angles, each [batch, time, 1, head_dim]."""

    cosine: Tensor
    sine: Tensor


@final
class Attention(nn.Module):
    """Grouped-query attention with normalised queries, keys and values."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.head_dim, self.eps = config.head_dim, config.rms_norm_eps
        queries = config.num_attention_heads * config.head_dim
        keys = config.num_key_value_heads * config.head_dim
        self.q_proj = nn.Linear(config.hidden_size, queries, bias=False)
        self.k_proj = nn.Linear(config.hidden_size, keys, bias=False)
        self.v_proj = nn.Linear(config.hidden_size, keys, bias=False)
        self.o_proj = nn.Linear(queries, config.hidden_size, bias=False)
        self.q_norm = RMSNorm(config.head_dim, config.rms_norm_eps)
        self.k_norm = RMSNorm(config.head_dim, config.rms_norm_eps)

    def forward(self, x: Hidden, rotation: Rotation, mask: Mask, cache: LayerCache | None) -> Tensor:
        """What the heads say, [batch, time, heads · head_dim]; `o_proj` is left to the caller, who may pick first."""
        heads = (*x.shape[:-1], -1, self.head_dim)
        query = rotate(self.q_norm(self.q_proj(x).view(heads)), rotation).transpose(1, 2)
        key = rotate(self.k_norm(self.k_proj(x).view(heads)), rotation).transpose(1, 2)
        value = normalized(self.v_proj(x).view(heads), self.eps).transpose(1, 2)
        if cache is not None:
            key, value = cache.extended(key, value)
        mixed = attended(query, key, value, mask)
        return mixed.transpose(1, 2).flatten(2)


@final
class FeedForward(nn.Module):
    """A feed-forward gated by GELU (Shazeer 2020, "GEGLU"; tanh approximation)."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.up_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.down_proj = nn.Linear(config.intermediate_size, config.hidden_size, bias=False)

    def forward(self, x: Hidden) -> Hidden:
        return self.down_proj(functional.gelu(self.gate_proj(x), approximate="tanh") * self.up_proj(x))


def inverse_frequencies(config: Config, layer_type: str) -> Tensor:
    """Radians a position for each pair of channels, [head_dim / 2].

    Sliding layers turn all pairs (Su et al. 2021); full layers only the first `partial_rotary_factor`
    of them, with the exponents of the whole head ("proportional"), and leave the others unturned.
    """
    pairs = config.head_dim // 2
    theta = config.full_rope_theta if layer_type == FULL else config.sliding_rope_theta
    turned = int(config.partial_rotary_factor * config.head_dim // 2) if layer_type == FULL else pairs
    frequencies = theta ** -(torch.arange(0, 2 * turned, 2, dtype=torch.float32) / config.head_dim)
    return torch.cat((frequencies, torch.zeros(pairs - turned)))


def rotation_at(positions: Positions, frequencies: Tensor) -> Rotation:
    """Rotary factors of every position, ready to multiply heads with."""
    angles = positions[..., None, None].float() * frequencies
    sine = angles.sin()
    # the sign of rotate-half is folded into the sine: the swapped halves then need no negation
    return Rotation(cosine=torch.cat((angles.cos(),) * 2, -1), sine=torch.cat((-sine, sine), -1))


def rotate(x: Tensor, rotation: Rotation) -> Tensor:
    """Turn channel i of a head with channel i + head_dim/2; x is [batch, time, heads, head_dim]."""
    return torch.addcmul(x * rotation.cosine, x.roll(x.shape[-1] // 2, -1), rotation.sine)
