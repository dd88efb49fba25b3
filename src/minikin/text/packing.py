"""Documents laid side by side into blocks of one length, and where each of them then stands."""

from array import array
from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice, pairwise
from typing import final

import numpy
from numpy.typing import NDArray

Piece = tuple[int, int]  # first token in the corpus, and how many
Block = tuple[Piece, ...]

_TOGETHER = 1 << 18  # pieces that are packed with each other, so that more documents need no more room to be packed


@final
class Rows:
    """Pieces packed into blocks of `length` tokens, and `a_row` blocks in each row but the last.

    Held as numbers one after another: some twelve bytes a piece, where a tuple for each had a hundred.
    """

    def __init__(self, stretches: Iterable[Piece], length: int, a_row: int) -> None:
        self._a_row = a_row
        self._first, self._count, self._ends = array("q"), array("i"), array("q", [0])
        rest = iter(stretches)
        while together := list(islice(rest, _TOGETHER)):
            for block in pack(together, length):
                self._first.extend(first for first, _ in block)
                self._count.extend(count for _, count in block)
                self._ends.append(len(self._first))

    def __len__(self) -> int:
        return -(-(len(self._ends) - 1) // self._a_row)

    def __getitem__(self, row: int) -> tuple[Block, ...]:
        if not 0 <= row < len(self):
            raise IndexError(row)
        ends = self._ends[row * self._a_row : (row + 1) * self._a_row + 1]
        return tuple(tuple(zip(self._first[a:b], self._count[a:b], strict=True)) for a, b in pairwise(ends))


def pieces(starts: NDArray[numpy.int64], length: int) -> Iterator[Piece]:
    """Documents as stretches of at most `length` tokens."""
    for start, end in pairwise(starts):
        for first in range(int(start), int(end), length):
            yield first, min(length, int(end) - first)


def pack(stretches: Sequence[Piece], length: int) -> list[Block]:
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


def placed(row: Sequence[Block], length: int) -> Iterator[tuple[int, Piece]]:
    """Each piece of a row of blocks, and where in the row it begins."""
    for number, block in enumerate(row):
        at = number * length
        for piece in block:
            yield at, piece
            at += piece[1]
