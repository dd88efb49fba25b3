"""A training's passes compiled: all layers as one graph, so that a GPU starts few kernels instead of hundreds.

Lookups stay outside, because a table's sparse gradient cannot be compiled; so does the head, whose gradient is taken on
the way. Nothing in the graph depends on a Python object that grows or changes, so one graph serves a whole training.
"""

from collections.abc import Callable
from typing import Any, final

import torch
from torch import Tensor
from torch._dynamo import mark_dynamic

from minikin.base.shapes import Documents, Hidden, Positions, Tokens
from minikin.model.decoder import Decoder, Offered, Pick


@final
class CompiledPass:
    """A decoder's layers and last normalisation over whole batches of [rows, time], and of no other shape.

    How many positions are picked may change from batch to batch: the graph takes any number.
    """

    def __init__(
        self, decoder: Decoder, shape: tuple[int, int], backend: str | Callable[..., Any] = "inductor"
    ) -> None:
        def run(x: Hidden, offered: Offered, positions: Positions, documents: Documents, places: Tensor) -> Hidden:
            picked = _Gather(places)
            return decoder.norm(decoder.through(x, offered, positions, documents, None, picked)[-1])

        self._shape = shape
        # one graph or an error: what falls apart into many would be slower than none
        self._run = torch.compile(run, fullgraph=True, backend=backend)

    def takes(self, tokens: Tokens) -> bool:
        """Whether a batch is of the shape that is compiled."""
        return tuple(tokens.shape) == self._shape

    def __call__(self, x: Hidden, offered: Offered, positions: Positions, documents: Documents, pick: Pick) -> Hidden:
        """Normalised hidden states where `pick` takes them."""
        grid = torch.arange(positions.numel(), device=positions.device).view(positions.shape)
        places = pick(grid)
        flat = places.flatten()
        # said beforehand, or a first graph for this number alone would be compiled and thrown away
        mark_dynamic(flat, 0)
        return self._run(x, offered, positions, documents, flat).unflatten(0, places.shape)


@final
class _Gather:
    """A pick as a tensor: the same graph whatever is picked, which a function of Python would not be."""

    def __init__(self, places: Tensor) -> None:
        self._places = places

    def __call__(self, x: Tensor) -> Tensor:
        """[batch, time, …] → [chosen, …]"""
        return x.flatten(0, 1).index_select(0, self._places)
