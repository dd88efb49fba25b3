"""Products and rows of weights that may be stored narrower than what is computed in.

Weights that stay in their file as bfloat16 are widened where they are used, a part at a time: a product is then the
same as with weights that were widened when they were read, bit for bit, and takes half of the memory.
"""

from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional

from minikin.base.shapes import Logits

_ROWS_AT_ONCE = 4096  # of a head: 4 MB at a hidden size of 256, which stays in the processor's cache


@final
class Linear(nn.Linear):
    """A product without bias."""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__(in_features, out_features, bias=False)

    def reset_parameters(self) -> None:
        """Nothing: `initialized` draws weights, `load` reads them."""

    def forward(self, x: Tensor) -> Tensor:
        return functional.linear(x, widened(self.weight))


@final
class Embedding(nn.Embedding):
    """Rows to be looked up."""

    def reset_parameters(self) -> None:
        """Nothing, as above; for a shape without weights PyTorch would load 70 MB of its compiler to draw none."""


def widened(weight: Tensor) -> Tensor:
    """A weight in float32; the weight itself if it is."""
    return weight if weight.dtype == torch.float32 else weight.float()  # a call that does nothing takes its time, too


def scores(hidden: Tensor, embeddings: Tensor) -> Logits:
    """Products with every row of a large matrix, [..., hidden] → [..., vocab]."""
    if embeddings.dtype == torch.float32:
        return hidden @ embeddings.T
    found = hidden.new_empty(*hidden.shape[:-1], len(embeddings))
    # one buffer for all parts: freed ones would lie scattered about the heap, 100 MB of them in a published nano
    room = hidden.new_empty(_ROWS_AT_ONCE, hidden.shape[-1])
    for rows, part in zip(embeddings.split(_ROWS_AT_ONCE), found.split(_ROWS_AT_ONCE, -1), strict=True):
        part.copy_(hidden @ room[: len(rows)].copy_(rows).T)
    return found
