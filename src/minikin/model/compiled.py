"""A training's passes compiled: all layers as one graph, so that a GPU starts few kernels instead of hundreds.

Lookups stay outside, because a table's sparse gradient cannot be compiled; so does the head, whose gradient is taken on
the way. Nothing in the graph depends on a Python object that grows or changes, so one graph serves a whole training.
"""

from collections.abc import Callable
from typing import Any, final

import torch
from torch import Tensor
from torch._dynamo import mark_dynamic, mark_static

from minikin.base.shapes import Documents, Hidden, Positions, Tokens
from minikin.model.decoder import Decoder, Offered, Pick


@final
class CompiledPass:
    """A decoder's layers and last normalisation over whole batches of [rows, time], and of no other shape.

    Rows of a second length, `short`, may be any number, and so may the positions that are picked.
    """

    def __init__(
        self,
        decoder: Decoder,
        shape: tuple[int, int],
        backend: str | Callable[..., Any] = "inductor",
        *,
        short: int = 0,
    ) -> None:
        def run(x: Hidden, offered: Offered, positions: Positions, documents: Documents, places: Tensor) -> Hidden:
            picked = _Gather(places)
            return decoder.norm(decoder.through(x, offered, positions, documents, None, picked)[-1])

        self._shape, self._short = shape, short
        # one graph or an error: what falls apart into many would be slower than none
        self._run = torch.compile(run, fullgraph=True, backend=backend)

    def takes(self, tokens: Tokens) -> bool:
        """Whether a batch is of a shape that is compiled."""
        rows, time = tokens.shape
        return (rows, time) == self._shape or (time == self._short and rows > 1)

    def __call__(self, x: Hidden, offered: Offered, positions: Positions, documents: Documents, pick: Pick) -> Hidden:
        """Normalised hidden states where `pick` takes them."""
        grid = torch.arange(positions.numel(), device=positions.device).view(positions.shape)
        places = pick(grid)
        flat = places.flatten()
        # said beforehand, or a first graph for this number alone would be compiled and thrown away
        mark_dynamic(flat, 0)
        if tuple(positions.shape) != self._shape:
            for tensor in (x, *(offered or ()), positions, documents):
                mark_dynamic(tensor, 0)
                mark_static(tensor, 1)
        return self._run(x, offered, positions, documents, flat).unflatten(0, places.shape)


def forget(decoder: Decoder) -> None:
    """A decoder's training is over: its graphs, and all others of this process, are not used again."""
    if decoder.compiled is not None:
        decoder.compiled = None
        torch.compiler.reset()


@final
class _Gather:
    """A pick as a tensor: the same graph whatever is picked, which a function of Python would not be."""

    def __init__(self, places: Tensor) -> None:
        self._places = places

    def __call__(self, x: Tensor) -> Tensor:
        """[batch, time, …] → [chosen, …]"""
        return x.flatten(0, 1).index_select(0, self._places)
