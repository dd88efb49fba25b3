"""Per-layer embeddings: a token table for every layer, looked up and gated into the residual stream.

All layers' rows of a token lie side by side in one table [vocab, layers · table], so that a token reads
one stretch of memory; a projection of the input embedding is mixed in (Gemma 3n, Gemma 4).
"""

from typing import Any, final

import torch
from torch import Tensor, nn
from torch.nn import functional

from minikin.base.shapes import Hidden, PerLayerInput, Tokens
from minikin.model.config import Config
from minikin.model.linear import Embedding, Linear, widened
from minikin.model.norm import RMSNorm, inverse_rms, normalized_gradient
from minikin.model.shards import RowFile


@final
class Tables(nn.Module):
    """What every layer is told about each token, beside the residual stream."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.layers, self.width = config.num_hidden_layers, config.hidden_size_per_layer_input
        # sparse: its gradient holds the rows that were looked up; a dense one would outweigh the rest of the decoder
        self.embed_tokens_per_layer = Embedding(config.table_rows, self.layers * self.width, sparse=True)
        self.per_layer_model_projection = Linear(config.hidden_size, self.layers * self.width)
        self.per_layer_projection_norm = RMSNorm(self.width, config.rms_norm_eps)
        self.file: RowFile | None = None  # where rows are read from, if the table is as its file says
        self.register_load_state_dict_post_hook(lambda tables, _: setattr(tables, "file", None))
        self.pad_token_id, self.complete = config.pad_token_id, config.table_rows >= config.vocab_size

    def forward(self, tokens: Tokens, embedded: Hidden) -> tuple[PerLayerInput, ...]:
        """(scale · norm(projection / √hidden) + rows · √width) / √2, a tensor [batch, time, table] a layer."""
        shape = (*tokens.shape, self.layers, self.width)
        rows = self.rows(tokens).to(embedded.dtype).view(shape)
        projected = self.per_layer_model_projection(embedded).view(shape)
        # the projection is not divided by √hidden: the normalisation takes that out again, but for its eps
        norm = self.per_layer_projection_norm
        eps, factor = norm.eps * embedded.shape[-1], (self.width / 2) ** 0.5
        return mixed(rows, projected, widened(norm.weight) * 2**-0.5, eps, factor)

    def rows(self, tokens: Tokens) -> Tensor:
        """What the tables say of tokens, [...] → [..., layers · table], as it is stored."""
        tokens = self._known(tokens)
        if self.file is None or torch.is_grad_enabled():  # what is read from a file has no gradient
            return self.embed_tokens_per_layer(tokens)
        return self.file.rows(tokens)

    def _known(self, tokens: Tokens) -> Tokens:
        """Tokens beyond the last row take the padding's, as what is no text does in Gemma 4."""
        rows = self.embed_tokens_per_layer.num_embeddings
        return tokens if self.complete else torch.where(tokens < rows, tokens, self.pad_token_id)


def mixed(rows: Tensor, projected: Tensor, scale: Tensor, eps: float, factor: float) -> tuple[PerLayerInput, ...]:
    """factor · rows + scale · projected / √(mean(projected²) + eps), both [batch, time, layers, table].

    All layers' tables together outgrow the processor's cache, so it goes layer by layer in both directions.
    """
    return _Mixed.apply(rows, projected, scale, eps, factor)  # type: ignore[no-any-return]


class _Mixed(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, rows: Tensor, projected: Tensor, scale: Tensor, eps: float, factor: float
    ) -> tuple[Tensor, ...]:
        inverse = inverse_rms(projected, eps)
        ctx.save_for_backward(projected, inverse, scale)
        ctx.factor = factor
        layers = zip(rows.unbind(2), projected.unbind(2), inverse.unbind(2), strict=True)
        mixed = ((part * inverse * scale).add_(row, alpha=factor) for row, part, inverse in layers)
        return tuple(layer.to(projected.dtype) for layer in mixed)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        projected, inverse, scale = ctx.saved_tensors
        to_rows, to_projected = inverse.new_empty(projected.shape), torch.empty_like(projected)
        to_scale = torch.zeros_like(scale)
        for layer, gradient in enumerate(gradients):
            z = projected[:, :, layer] * inverse[:, :, layer]
            torch.mul(gradient, ctx.factor, out=to_rows[:, :, layer])
            to_projected[:, :, layer] = normalized_gradient(gradient * scale, z, inverse[:, :, layer])
            to_scale += (gradient * z).sum((0, 1))
        return to_rows, to_projected, to_scale, None, None


@final
class TableGate(nn.Module):
    """One layer's use of its table: the residual stream gates what the table offers."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        width = config.hidden_size_per_layer_input
        self.per_layer_input_gate = Linear(config.hidden_size, width)
        self.per_layer_projection = Linear(width, config.hidden_size)
        self.post_per_layer_input_norm = RMSNorm(config.hidden_size, config.rms_norm_eps)

    def forward(self, x: Hidden, offered: Tensor) -> Hidden:
        gate = functional.gelu(self.per_layer_input_gate(x), approximate="tanh")
        return self.post_per_layer_input_norm.added(x, self.per_layer_projection(gate * offered))
