"""Attention block by block: what no query may see is not computed, and scores stay in the processor's cache.

Scores grow with the square of a row. Rows of short documents are therefore packed to end at the borders of a row's
quarters (`text/packing`), and looked at as four short rows each. In any other row a training takes its queries piece
by piece, each with the keys that are near enough; what is computed stays the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from minikin.base.shapes import Documents, Keys, Mask, Queries, Values
from minikin.model.attention import attended

_BLOCKS = 4  # in a row
_LEAST = 64  # tokens of a block; shorter ones save nothing
_PIECE = 128  # queries at once


@dataclass(frozen=True, kw_only=True)
class Piece:
    """Some queries of all rows, the keys that one of them may see, and the mask [rows, 1, queries, keys] of these."""

    queries: slice
    keys: slice
    mask: Mask


@dataclass(frozen=True, kw_only=True)
class Part:
    """Rows of a batch that attend in blocks of `length` tokens, and the pieces that their queries are taken in.

    `rows` is None for all rows, whole.
    """

    rows: Tensor | None
    length: int
    pieces: tuple[Piece, ...]


def cut_rows(documents: Documents) -> list[tuple[Tensor | None, int]]:
    """Which rows are looked at in blocks of which length; all rows whole if none can be cut."""
    time = documents.shape[1]
    length = time // _BLOCKS
    # a GPU's kernels and a compiler want one shape
    whole = documents.device.type != "cpu" or torch.compiler.is_compiling()
    if whole or time % _BLOCKS or length < _LEAST:
        return [(None, time)]
    ends = torch.arange(length, time, length, device=documents.device)
    before, after = documents[:, ends - 1], documents[:, ends]
    short = ((before != after) | (before < 0)).all(1)
    if not short.any():
        return [(None, time)]
    sorts = ((short.nonzero()[:, 0], length), ((~short).nonzero()[:, 0], time))
    return [(rows, size) for rows, size in sorts if len(rows)]


def in_pieces(mask: Mask, window: int) -> tuple[Piece, ...]:
    """What a mask [rows, 1, time, time] lets be seen, at most `window` tokens back, piece by piece.

    On a GPU, at once: there a fused kernel keeps no scores.
    """
    time = mask.shape[2]
    if mask.device.type != "cpu" or time <= _PIECE:
        return (at_once(mask),)
    pieces = (slice(begin, min(begin + _PIECE, time)) for begin in range(0, time, _PIECE))
    return tuple(_piece(mask, queries, max(0, queries.start + 1 - window)) for queries in pieces)


def _piece(mask: Mask, queries: slice, first: int) -> Piece:
    # few different lengths: the processor's library makes a kernel for every new one
    keys = slice(first // _PIECE * _PIECE, queries.stop)
    return Piece(queries=queries, keys=keys, mask=mask[:, :, queries, keys].contiguous())


def at_once(mask: Mask) -> Piece:
    """All queries and keys."""
    return Piece(queries=slice(None), keys=slice(None), mask=mask)


def in_blocks(x: Tensor, rows: Tensor | None, length: int) -> Tensor:
    """Rows of [batch, time] as blocks, [rows · blocks, length]."""
    return x if rows is None else x[rows].reshape(-1, length)


def attended_in_parts(query: Queries, key: Keys, value: Values, parts: Sequence[Part]) -> Queries:
    """What each query head gathers, part by part, in the batch's order."""
    if parts[0].rows is None:
        return _attended_in_pieces(query, key, value, parts[0].pieces)
    found, order = [], []
    for part in parts:
        assert part.rows is not None
        queries, keys, values = (_as_blocks(x, part.rows, part.length) for x in (query, key, value))
        mixed = _attended_in_pieces(queries, keys, values, part.pieces)
        found.append(mixed.transpose(1, 2).reshape(len(part.rows), query.shape[2], *query.shape[1::2]))
        order.append(part.rows)
    back = torch.argsort(torch.cat(order))
    return torch.cat(found).index_select(0, back).transpose(1, 2)


def _attended_in_pieces(query: Queries, key: Keys, value: Values, pieces: Sequence[Piece]) -> Queries:
    found = [
        attended(query[:, :, piece.queries], key[:, :, piece.keys], value[:, :, piece.keys], piece.mask)
        for piece in pieces
    ]
    return found[0] if len(found) == 1 else torch.cat(found, 2)


def _as_blocks(x: Tensor, rows: Tensor, length: int) -> Tensor:
    """[batch, heads, time, head_dim] → [rows · blocks, heads, length, head_dim]"""
    chosen = x.transpose(1, 2).index_select(0, rows)
    return chosen.reshape(-1, length, *chosen.shape[2:]).transpose(1, 2)
