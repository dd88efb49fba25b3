"""Attention block by block: where no document crosses a row's quarters, each quarter attends to itself alone.

Scores grow with the square of a row. Rows of short documents are therefore packed to end at such borders
(`text/packing`), and here they are looked at as four short rows each; what is computed stays the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from minikin.base.shapes import Documents, Keys, Mask, Queries, Values
from minikin.model.attention import attended

_BLOCKS = 4  # in a row
_LEAST = 64  # tokens of a block; shorter ones save nothing


@dataclass(frozen=True, kw_only=True)
class Part:
    """Rows of a batch that attend in blocks of `length` tokens, and the mask [rows · blocks, 1, length, keys] of these.

    `rows` is None for all rows, whole.
    """

    rows: Tensor | None
    length: int
    mask: Mask


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


def in_blocks(x: Tensor, rows: Tensor | None, length: int) -> Tensor:
    """Rows of [batch, time] as blocks, [rows · blocks, length]."""
    return x if rows is None else x[rows].reshape(-1, length)


def attended_in_parts(query: Queries, key: Keys, value: Values, parts: Sequence[Part]) -> Queries:
    """What each query head gathers, part by part, in the batch's order."""
    if parts[0].rows is None:
        return attended(query, key, value, parts[0].mask)
    found, order = [], []
    for part in parts:
        assert part.rows is not None
        queries, keys, values = (_as_blocks(x, part.rows, part.length) for x in (query, key, value))
        mixed = attended(queries, keys, values, part.mask)
        found.append(mixed.transpose(1, 2).reshape(len(part.rows), query.shape[2], *query.shape[1::2]))
        order.append(part.rows)
    back = torch.argsort(torch.cat(order))
    return torch.cat(found).index_select(0, back).transpose(1, 2)


def _as_blocks(x: Tensor, rows: Tensor, length: int) -> Tensor:
    """[batch, heads, time, head_dim] → [rows · blocks, heads, length, head_dim]"""
    chosen = x.transpose(1, 2).index_select(0, rows)
    return chosen.reshape(-1, length, *chosen.shape[2:]).transpose(1, 2)
