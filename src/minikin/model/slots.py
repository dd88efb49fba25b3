"""Keys and values of several conversations that are written at once, each as long as it is.

Unlike the rows of a `Cache`, slots begin and end at any time: a token's column is its position, and whoever leaves is
replaced by the last, so that those who write are always the first slots.
"""

from typing import final

import torch
from torch import Tensor

from minikin.model.cache import Cache
from minikin.model.config import Config

_LEAST_ROOM = 64  # columns


@final
class Slots:
    """Room for `count` conversations.

    `keys` and `values` are [slots · groups, columns, head_dim] for a layer that has its own, else None.
    """

    def __init__(self, config: Config, count: int) -> None:
        self.count, self.groups, self.lengths = count, config.num_key_value_heads, list[int]()
        self.keys: list[Tensor | None] = [None] * config.num_hidden_layers
        self.values: list[Tensor | None] = [None] * config.num_hidden_layers
        self._longest = config.max_position_embeddings

    @property
    def taken(self) -> int:
        """How many slots are taken: the first ones."""
        return len(self.lengths)

    @property
    def room(self) -> int:
        """Columns that there is room for."""
        return next(stored.shape[1] for stored in self.keys if stored is not None)

    def take(self, cache: Cache) -> int:
        """Give the only row of a cache a slot of its own; returns which."""
        slot = self.taken
        assert slot < self.count, "all slots are taken"
        self.lengths.append(cache.positions.shape[1])
        for layer, stored in enumerate(cache.layers):
            if (columns := stored.columns()) is not None:
                for kept, given in zip((self.keys, self.values), columns, strict=True):
                    kept[layer] = self._roomy(kept[layer], given.shape[-1])
                    self._columns(kept[layer], slot, self.lengths[slot]).copy_(given[0])
        return slot

    def grow(self) -> None:
        """Count one more column in every slot, and see that there is room for it."""
        self.lengths = [length + 1 for length in self.lengths]
        for kept in (self.keys, self.values):
            for layer, stored in enumerate(kept):
                if stored is not None and stored.shape[1] < max(self.lengths):
                    kept[layer] = self._roomy(stored, stored.shape[-1])

    def leave(self, slot: int) -> int:
        """Free a slot; the last one moves there. Returns where it was."""
        last = self.taken - 1
        for stored in (*self.keys, *self.values):
            if stored is not None and slot < last:
                length = self.lengths[last]
                self._columns(stored, slot, length).copy_(self._columns(stored, last, length))
        self.lengths[slot] = self.lengths[last]
        self.lengths.pop()
        return last

    def _columns(self, stored: Tensor | None, slot: int, length: int) -> Tensor:
        assert stored is not None
        return stored[slot * self.groups : (slot + 1) * self.groups, :length]

    def _roomy(self, stored: Tensor | None, head_dim: int) -> Tensor:
        needed = max(self.lengths)
        if stored is not None and stored.shape[1] >= needed:
            return stored
        room = min(self._longest, max(_LEAST_ROOM, needed + needed // 2))
        # what no token has written counts nothing, and nothing times what was left in memory might be no number
        fresh = torch.zeros(self.count * self.groups, room, head_dim)
        if stored is not None:
            fresh[:, : stored.shape[1]] = stored
        return fresh
