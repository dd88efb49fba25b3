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

    `stored` holds, for each type of layer, [layers, 2, slots · groups, columns, head_dim]: the keys and the values of
    those layers of the type that have their own, in their order; `owners` are these layers' numbers, and `rows` what is
    stored of each, [2 · slots · groups · columns, head_dim]. Every slot and layer has columns for the longest
    conversation that there has been; beyond a conversation's length there is nothing but zeros.
    """

    def __init__(self, config: Config, count: int) -> None:
        self.count, self.groups, self.lengths = count, config.num_key_value_heads, list[int]()
        self._config = config
        numbered = [(kind, layer) for layer, kind in enumerate(config.layer_types) if not config.shares_kv(layer)]
        self.owners = {kind: [layer for other, layer in numbered if other == kind] for kind, _ in numbered}
        self.stored = {kind: self._empty(kind, _LEAST_ROOM) for kind in self.owners}
        self.rows = self._all_rows()

    @property
    def taken(self) -> int:
        """How many slots are taken: the first ones."""
        return len(self.lengths)

    @property
    def room(self) -> int:
        """Columns that there is room for."""
        return next(iter(self.stored.values())).shape[3]

    @torch.inference_mode()
    def take(self, cache: Cache, columns: slice = slice(None)) -> None:
        """Give columns of the only row of a cache a slot of their own, the next one."""
        slot, length = self.taken, cache.positions[:, columns].shape[1]
        assert slot < self.count, "all slots are taken"
        self.lengths.append(length)
        self._make_room()
        for kind, owners in self.owners.items():
            for layer, stored in zip(owners, self.stored[kind], strict=True):
                known = cache.layers[layer].columns()
                assert known is not None
                for kept, given in zip(stored, known, strict=True):
                    kept[self._rows(slot), :length] = given[0, :, columns]

    def grow(self) -> None:
        """Count one more column in every slot, and see that there is room for it."""
        self.lengths = [length + 1 for length in self.lengths]
        self._make_room()

    @torch.inference_mode()
    def leave(self, slot: int) -> int:
        """Free a slot; the last one moves there. Returns where it was."""
        last, longer = self.taken - 1, max(self.lengths[slot], self.lengths[-1])
        for stored in self.stored.values():
            freed = stored[:, :, self._rows(last), :longer]
            if slot < last:
                stored[:, :, self._rows(slot), :longer] = freed
            freed.zero_()  # whatever was there, were it no number, must not touch who comes next
        self.lengths[slot] = self.lengths[last]
        self.lengths.pop()
        return last

    def _rows(self, slot: int) -> slice:
        return slice(slot * self.groups, (slot + 1) * self.groups)

    def _make_room(self) -> None:
        needed, had = max(self.lengths), self.room
        assert needed <= self._config.max_position_embeddings, "longer than the context"
        if needed > had:
            self._move(had, min(self._config.max_position_embeddings, needed + needed // 2))

    @torch.inference_mode()
    def _move(self, had: int, room: int) -> None:
        for kind, stored in self.stored.items():
            self.stored[kind] = self._empty(kind, room)
            self.stored[kind][:, :, :, :had] = stored
        self.rows = self._all_rows()

    def _all_rows(self) -> dict[str, tuple[Tensor, ...]]:
        return {kind: stored.flatten(1, 3).unbind() for kind, stored in self.stored.items()}

    def _empty(self, kind: str, room: int) -> Tensor:
        return torch.zeros(len(self.owners[kind]), 2, self.count * self.groups, room, self._config.head_dim_of(kind))
