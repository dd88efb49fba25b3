"""Documents laid side by side into blocks of one length, and where each of them then stands."""

from bisect import bisect_left, insort
from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy
from numpy.typing import NDArray

Piece = tuple[int, int]  # first token in the corpus, and how many
Block = tuple[Piece, ...]


def pieces(starts: NDArray[numpy.int64], length: int) -> list[Piece]:
    """Documents as stretches of at most `length` tokens."""
    return [
        (first, min(length, int(end) - first))
        for start, end in pairwise(starts)
        for first in range(int(start), int(end), length)
    ]


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


def batched(blocks: Sequence[Block], count: int) -> Iterator[tuple[Block, ...]]:
    """Blocks in rows of `count`; the last may have fewer."""
    return (tuple(blocks[start : start + count]) for start in range(0, len(blocks), count))


def placed(row: Sequence[Block], length: int) -> Iterator[tuple[int, Piece]]:
    """Each piece of a row of blocks, and where in the row it begins."""
    for number, block in enumerate(row):
        at = number * length
        for piece in block:
            yield at, piece
            at += piece[1]
