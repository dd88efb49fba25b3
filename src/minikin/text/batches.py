"""Documents packed into rows of one length, and batches as a pure function of seed and step.

A row holds whole documents side by side, none of which sees another. A document longer than a row is
cut into pieces of a row's length; no token is lost. There is no reader's state to save: batch(step) is
the same in whatever order steps are asked for.
"""

from bisect import bisect_left, insort
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import final

import numpy
import torch
from numpy.typing import NDArray
from torch import Tensor

from minikin.base.seeds import numpy_generator
from minikin.base.shapes import Documents, Positions, Tokens, Weights
from minikin.text.corpus import Corpus

Piece = tuple[int, int]  # first token in the corpus, and how many
Row = tuple[Piece, ...]

_FIELDS = ("tokens", "targets", "weights", "positions", "documents")


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Packed rows; `targets` are the following tokens, and count for the loss where `weights` are above zero."""

    tokens: Tokens
    targets: Tokens
    weights: Weights
    positions: Positions
    documents: Documents


@final
class PackedCorpus:
    """A corpus as rows of `length` tokens. Tokens that are not the answer count `prompt_weight`."""

    def __init__(self, corpus: Corpus, length: int, prompt_weight: float) -> None:
        self.corpus, self.length, self.prompt_weight = corpus, length, prompt_weight
        self.rows = pack(pieces(corpus.starts, length), length)

    def __len__(self) -> int:
        return len(self.rows)

    def batch(self, chosen: Sequence[int]) -> Batch:
        """These rows."""
        rows = [self._row(self.rows[index]) for index in chosen]
        tokens, targets, weights, positions, documents = (torch.stack(parts) for parts in zip(*rows, strict=True))
        return Batch(tokens=tokens, targets=targets, weights=weights, positions=positions, documents=documents)

    def in_order(self, rows: int) -> Iterator[Batch]:
        """Every row once, `rows` at a time."""
        for start in range(0, len(self), rows):
            yield self.batch(range(start, min(start + rows, len(self))))

    def _row(self, row: Row) -> tuple[Tensor, ...]:
        tokens = numpy.zeros(self.length + 1, dtype=numpy.int64)
        weights = numpy.zeros(self.length, dtype=numpy.float32)
        positions = numpy.zeros(self.length, dtype=numpy.int64)
        documents = numpy.full(self.length, -1, dtype=numpy.int64)
        at = 0
        for number, (first, count) in enumerate(row):
            here = slice(at, at + count)
            tokens[here] = self.corpus.tokens[first : first + count]
            # what a token is asked for is its successor, so the successor decides what it counts
            counts = numpy.where(self.corpus.answer[first + 1 : first + count], 1.0, self.prompt_weight)
            weights[at : at + count - 1] = counts
            positions[here] = numpy.arange(count)
            documents[here] = number
            at += count
        arrays = (tokens[:-1], tokens[1:], weights, positions, documents)
        return tuple(torch.from_numpy(array) for array in arrays)


@dataclass(frozen=True, kw_only=True)
class Share:
    """A corpus and its part of all rows; shares of a mixture need not add up to one."""

    name: str
    rows: PackedCorpus
    share: float


@final
class Mixture:
    """Batches of `batch_rows` rows drawn from several corpora by their shares."""

    def __init__(self, shares: Sequence[Share], batch_rows: int, seed: int) -> None:
        self._shares, self._seed = tuple(shares), seed
        self.batch_rows, self.length = batch_rows, shares[0].rows.length
        self._owners, self._turns = apportioned([share.share for share in shares])
        self._each = numpy.bincount(self._owners, minlength=len(shares))

    @property
    def batch_tokens(self) -> int:
        """Tokens a batch has room for."""
        return self.batch_rows * self.length

    def batch(self, step: int) -> Batch:
        """Batch `step`, counted from 0."""
        first = step * self.batch_rows
        rows = [self._row(number) for number in range(first, first + self.batch_rows)]
        return Batch(**{field: torch.cat([getattr(row, field) for row in rows]) for field in _FIELDS})

    def epochs(self, steps: int) -> dict[str, float]:
        """How often each corpus has been seen after this many steps."""
        rows = steps * self.batch_rows / len(self._owners)
        return {
            share.name: rows * int(each) / len(share.rows) for share, each in zip(self._shares, self._each, strict=True)
        }

    def _row(self, number: int) -> Batch:
        cycle, place = divmod(number, len(self._owners))
        owner = int(self._owners[place])
        share = self._shares[owner]
        epoch, position = divmod(cycle * int(self._each[owner]) + int(self._turns[place]), len(share.rows))
        return share.rows.batch([int(_permutation(self._seed, share.name, epoch, len(share.rows))[position])])


def apportioned(shares: Sequence[float], cycle: int = 1000) -> tuple[NDArray[numpy.int64], NDArray[numpy.int64]]:
    """Who owns each row of a cycle, and which of the owner's rows it is.

    Each row goes to whoever is furthest behind, so after n rows everybody has had their part, give or take one.
    """
    parts = numpy.asarray(shares, dtype=numpy.float64) / sum(shares)
    counts = numpy.zeros(len(parts))
    owners, turns = [], []
    for number in range(1, cycle + 1):
        owner = int(numpy.argmax(parts * number - counts))
        owners.append(owner)
        turns.append(int(counts[owner]))
        counts[owner] += 1
    return numpy.asarray(owners), numpy.asarray(turns)


def pieces(starts: NDArray[numpy.int64], length: int) -> list[Piece]:
    """Documents as stretches of at most `length` tokens."""
    return [
        (first, min(length, int(end) - first))
        for start, end in pairwise(starts)
        for first in range(int(start), int(end), length)
    ]


def pack(stretches: Sequence[Piece], length: int) -> list[Row]:
    """Best fit, longest first: each stretch goes where it leaves the least room."""
    rows: list[list[Piece]] = []
    rooms: list[int] = []  # sorted; which rows have a room is in `having`
    having: dict[int, list[int]] = {}
    for stretch in sorted(stretches, key=lambda piece: (-piece[1], piece[0])):
        at = bisect_left(rooms, stretch[1])
        if at == len(rooms):
            row, room = len(rows), length
            rows.append([])
        else:
            room = rooms[at]
            row = having[room].pop()
            if not having[room]:
                del having[room]
                rooms.pop(at)
        rows[row].append(stretch)
        left = room - stretch[1]
        if left not in having:
            having[left] = []
            insort(rooms, left)
        having[left].append(row)
    return [tuple(row) for row in rows]


@lru_cache(maxsize=16)
def _permutation(seed: int, name: str, epoch: int, rows: int) -> NDArray[numpy.int64]:
    return numpy_generator(seed, "rows", name, epoch).permutation(rows)
