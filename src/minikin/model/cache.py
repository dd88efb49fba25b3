"""Keys and values of earlier tokens, so that decoding computes each token once.

Rows are left-padded: all rows of a batch end at the same column, so one cache grows by whole columns.
"""

from typing import final

import torch
from torch import Tensor

from minikin.base.shapes import Documents, Keys, Positions, Values
from minikin.model.config import Config


@final
class LayerCache:
    """Keys and values of one layer; its storage grows by more than is asked for when it is full."""

    def __init__(self) -> None:
        self.length = 0
        self._keys: Tensor | None = None
        self._values: Tensor | None = None

    def extended(self, key: Keys, value: Values) -> tuple[Keys, Values]:
        """Append new columns and return everything so far."""
        end = self.length + key.shape[2]
        if self._keys is None or self._values is None or end > self._keys.shape[2]:
            self._keys = self._roomier(self._keys, key, end)
            self._values = self._roomier(self._values, value, end)
        self._keys[:, :, self.length : end] = key
        self._values[:, :, self.length : end] = value
        self.length = end
        return self._keys[:, :, :end], self._values[:, :, :end]

    def columns(self) -> tuple[Keys, Values] | None:
        """Keys and values of all columns so far; None of a layer that looks at another's."""
        if self._keys is None or self._values is None:
            return None
        return self._keys[:, :, : self.length], self._values[:, :, : self.length]

    def reordered(self, rows: Tensor) -> "LayerCache":
        """A cache with these rows of this one, in this order; a row may occur more than once."""
        chosen = LayerCache()
        if self._keys is not None and self._values is not None:
            chosen.length = self.length
            # with its room: what is taken over is about to grow
            chosen._keys = self._keys.index_select(0, rows)
            chosen._values = self._values.index_select(0, rows)
        return chosen

    def rearrange(self, rows: Tensor, start: int) -> None:
        """Give each row what another has from column `start` on."""
        for stored in (self._keys, self._values):
            if stored is not None:
                stored[:, :, start : self.length] = stored[rows, :, start : self.length]

    def _roomier(self, stored: Tensor | None, like: Tensor, end: int) -> Tensor:
        room = like.new_empty(*like.shape[:2], max(32, end + end // 2), like.shape[3])
        if stored is not None:
            room[:, :, : self.length] = stored[:, :, : self.length]
        return room


@final
class Cache:
    """The layers' caches, and position and document of every column for the masks."""

    def __init__(self, layers: list[LayerCache], positions: Positions, documents: Documents) -> None:
        self.layers = layers
        self.positions = positions
        self.documents = documents

    @classmethod
    def empty(cls, config: Config, batch: int, device: torch.device) -> "Cache":
        """A cache that holds nothing yet, for `batch` rows on a device."""
        nothing = torch.empty(batch, 0, dtype=torch.int64, device=device)
        return cls([LayerCache() for _ in range(config.num_hidden_layers)], nothing, nothing)

    def extend(self, positions: Positions, documents: Documents) -> None:
        """Note position and document of the columns that the layers are about to append."""
        self.positions = torch.cat((self.positions, positions), 1)
        self.documents = torch.cat((self.documents, documents), 1)

    def rearrange(self, rows: Tensor, start: int) -> None:
        """Give each row the columns from `start` on of another that has the same ones before."""
        for layer in self.layers:
            layer.rearrange(rows, start)

    def reordered(self, rows: Tensor) -> "Cache":
        """A cache with these rows of this one, as beam search and shared prompts need."""
        return Cache([layer.reordered(rows) for layer in self.layers], self.positions[rows], self.documents[rows])
