"""Per-layer embeddings: a token table for every layer, looked up and gated into the residual stream.

All layers' rows of a token lie side by side in one table [vocab, layers · table], so that a token reads
one stretch of memory; a projection of the input embedding is mixed in (Gemma 3n, Gemma 4).
"""

from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional

from minikin.base.shapes import Hidden, PerLayerInput, Tokens
from minikin.model.config import Config
from minikin.model.norm import RMSNorm, normalized


@final
class Tables(nn.Module):
    """What every layer is told about each token, beside the residual stream."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.layers, self.width = config.num_hidden_layers, config.hidden_size_per_layer_input
        self.embed_tokens_per_layer = nn.Embedding(config.vocab_size, self.layers * self.width)
        self.per_layer_model_projection = nn.Linear(config.hidden_size, self.layers * self.width, bias=False)
        self.per_layer_projection_norm = RMSNorm(self.width, config.rms_norm_eps)

    def forward(self, tokens: Tokens, embedded: Hidden) -> tuple[PerLayerInput, ...]:
        shape = (*tokens.shape, self.layers, self.width)
        # (scale · norm(projection / √hidden) + rows · √width) / √2, with its factors moved to where they are cheap
        norm = self.per_layer_projection_norm
        projected = normalized(self.per_layer_model_projection(embedded).view(shape), norm.eps * embedded.shape[-1])
        rows = self.embed_tokens_per_layer(tokens).view(shape) * (self.width / 2) ** 0.5
        return torch.addcmul(rows, projected, norm.weight * 2**-0.5).unbind(2)


@final
class TableGate(nn.Module):
    """One layer's use of its table: the residual stream gates what the table offers."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        width = config.hidden_size_per_layer_input
        self.per_layer_input_gate = nn.Linear(config.hidden_size, width, bias=False)
        self.per_layer_projection = nn.Linear(width, config.hidden_size, bias=False)
        self.post_per_layer_input_norm = RMSNorm(config.hidden_size, config.rms_norm_eps)

    def forward(self, x: Hidden, offered: Tensor) -> Hidden:
        gate = functional.gelu(self.per_layer_input_gate(x), approximate="tanh")
        return self.post_per_layer_input_norm.added(x, self.per_layer_projection(gate * offered))
