"""Reading prompts: short ones together, one after the other in a row; a long one in pieces."""

from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import final

import torch
from torch import Tensor

from minikin.model.cache import Cache
from minikin.model.decoder import Decoder
from minikin.model.generate import last
from minikin.model.slots import Slots

PIECE = 256  # tokens that are read at once


@final
class Prompts:
    """Prompts that are read together; more than a piece only if there is but one."""

    def __init__(self, decoder: Decoder, prompts: Sequence[Sequence[int]]) -> None:
        assert len(prompts) == 1 or sum(map(len, prompts)) <= PIECE, "more prompts than a piece holds"
        self._decoder, self._cache = decoder, Cache.empty(decoder.config, 1, decoder.device)
        told = ((token, place, number) for number, each in enumerate(prompts) for place, token in enumerate(each))
        self._left = torch.tensor(list(told)).T[:, None]  # tokens, positions and numbers of prompts, each [1, time]
        self._ends = list(accumulate(map(len, prompts)))

    def read_on(self) -> Tensor | None:
        """Read a piece; scores of what follows each prompt [prompts, vocab] once all are read."""
        piece, self._left = self._left[..., :PIECE], self._left[..., PIECE:]
        if self._left.numel():
            self._decoder(*piece, cache=self._cache, pick=last)
            return None
        before_end = self._ends[-1] - piece.shape[-1]
        ends = [end - 1 - before_end for end in self._ends]
        hidden = self._decoder(*piece, cache=self._cache, pick=lambda x: x[:, ends])
        return self._decoder.logits(hidden[0])

    def take(self, slots: Slots) -> None:
        """Give every prompt, once it is read, a slot of its own: the next ones, in their order."""
        for begin, end in pairwise((0, *self._ends)):
            slots.take(self._cache, slice(begin, end))
