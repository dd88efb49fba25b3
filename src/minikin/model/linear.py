"""Products with weights that may be stored narrower than what is computed in.

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

    def forward(self, x: Tensor) -> Tensor:
        return functional.linear(x, widened(self.weight))


def widened(weight: Tensor) -> Tensor:
    """A weight in float32; the weight itself if it is."""
    return weight.float()


def scores(hidden: Tensor, embeddings: Tensor) -> Logits:
    """Products with every row of a large matrix, [..., hidden] → [..., vocab]."""
    if embeddings.dtype == torch.float32:
        return hidden @ embeddings.T
    return torch.cat([hidden @ widened(rows).T for rows in embeddings.split(_ROWS_AT_ONCE)], -1)
