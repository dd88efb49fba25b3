"""Losses through the output head, in chunks of rows, with the gradient taken on the way.

A chunk's logits live only until its loss and both products of its gradient are made, so they stay in the processor's
cache and no product is made twice (the idea of Hsu et al. 2024, "Liger Kernel").
"""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from minikin.base.shapes import Logits
from minikin.model.decoder import Decoder
from minikin.train.losses import Sloped

# logits of one chunk: on a processor 4 MB in float32, to stay in its cache, but never fewer than 128 rows; elsewhere
# 256 MB, because every chunk costs the start of its kernels
_IN_CACHE, _CHUNK_LOGITS, _LEAST_ROWS = 1 << 20, 1 << 26, 128

Losses = Callable[[Logits, slice], Sloped]  # of the logits of some rows, and which rows they are


def head_losses(decoder: Decoder, hidden: Tensor, losses: Losses) -> tuple[Tensor, ...]:
    """The parts of a loss, summed over all rows of `hidden` [chosen, hidden].

    Their gradient is that of their sum: the parts can be looked at one by one, but only minimised together.
    """
    if torch.is_grad_enabled():
        return _HeadLosses.apply(hidden, decoder.embed_tokens.weight, decoder.capped, losses).unbind()  # type: ignore[no-any-return]
    chunks = _chunks(hidden, decoder.config.vocab_size)
    return torch.stack([losses(decoder.logits(hidden[part]), part).parts for part in chunks]).sum(0).unbind()


class _HeadLosses(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, capped: Callable[[Tensor], Tensor], losses: Losses) -> Tensor:
        hidden_gradient, weight_gradient = torch.empty_like(hidden), torch.zeros_like(weight)
        found = []
        for part in _chunks(hidden, len(weight)):
            scores = (hidden[part] @ weight.T).requires_grad_()
            with torch.enable_grad():
                logits = capped(scores)
            sloped = losses(logits.detach(), part)
            (slope,) = torch.autograd.grad(logits, scores, sloped.slope().to(logits.dtype))
            hidden_gradient[part] = slope @ weight
            weight_gradient += slope.T @ hidden[part]
            found.append(sloped.parts)
        ctx.save_for_backward(hidden_gradient, weight_gradient)
        return torch.stack(found).sum(0)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None, None]:
        assert (gradient == gradient[0]).all(), "parts of a loss can only be minimised as their sum"
        hidden_gradient, weight_gradient = ctx.saved_tensors
        return hidden_gradient * gradient[0], weight_gradient * gradient[0], None, None


def _chunks(hidden: Tensor, vocab_size: int) -> Iterator[slice]:
    logits = _IN_CACHE if hidden.device.type == "cpu" else _CHUNK_LOGITS
    size = max(_LEAST_ROWS, logits // vocab_size)
    return (slice(start, start + size) for start in range(0, len(hidden), size))
