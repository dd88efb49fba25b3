"""Documents packed into rows of one length, and batches of such rows.

A row holds whole documents side by side, none of which sees another. A document longer than a row is
cut into pieces of a row's length: every token is seen.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy
import torch
from torch import Tensor

from minikin.base.errors import DataError
from minikin.base.shapes import Documents, Positions, Tokens, Weights
from minikin.text.corpus import Corpus
from minikin.text.packing import Rows, pieces, placed

_FIELDS = ("tokens", "targets", "weights", "positions", "documents", "replies")


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Packed rows; `targets` are the following tokens, and count for the loss where `weights` are above zero.

    `replies` [batch, time] is True where the target is a word of a reply that is to be told from others.
    """

    tokens: Tokens
    targets: Tokens
    weights: Weights
    positions: Positions
    documents: Documents
    replies: Tensor

    def to(self, device: torch.device) -> "Batch":
        """The same rows on a device."""
        return Batch(**{field: getattr(self, field).to(device) for field in _FIELDS})


@final
class _Blank:
    """A batch whose lines are still to be written; `places` are the positions of the longest document."""

    def __init__(self, lines: int, length: int) -> None:
        self.places = numpy.arange(length)
        self.tokens = numpy.zeros((lines, length + 1), dtype=numpy.int64)
        self.weights = numpy.zeros((lines, length), dtype=numpy.float32)
        self.positions = numpy.zeros((lines, length), dtype=numpy.int64)
        self.documents = numpy.full((lines, length), -1, dtype=numpy.int64)
        self.replies = numpy.zeros((lines, length), dtype=numpy.bool_)

    def batch(self) -> Batch:
        """What is written by now."""
        tokens = torch.from_numpy(self.tokens)
        return Batch(
            tokens=tokens[:, :-1].contiguous(),
            targets=tokens[:, 1:].contiguous(),
            weights=torch.from_numpy(self.weights),
            positions=torch.from_numpy(self.positions),
            documents=torch.from_numpy(self.documents),
            replies=torch.from_numpy(self.replies),
        )


@final
class PackedCorpus:
    """A corpus as rows of `length` tokens. Tokens that are not the answer count `prompt_weight`.

    With `told_apart`, its answers are replies that are to be told from others. A row is made of blocks of `block`
    tokens, and no document reaches from one into the next: attention over short documents then costs less.

    If they count nothing, pieces without an answer have nothing to teach and are left out; raises DataError if no
    piece has one.
    """

    def __init__(
        self,
        corpus: Corpus,
        length: int,
        prompt_weight: float,
        *,
        told_apart: bool = False,
        block: int | None = None,
    ) -> None:
        self.corpus, self.length, self.prompt_weight, self.told_apart = corpus, length, prompt_weight, told_apart
        self._block = block or length
        stretches = pieces(corpus.starts, self._block)
        teaching = (piece for piece in stretches if prompt_weight or corpus.answers_in(*piece))
        self.rows = Rows(teaching, self._block, length // self._block)
        if not self.rows:
            raise DataError(f"{corpus.name}: no document has an answer to learn; check its records")

    def __len__(self) -> int:
        return len(self.rows)

    def batch(self, chosen: Sequence[int]) -> Batch:
        """These rows."""
        return written([(self, row) for row in chosen], self.length)

    def answers(self, chosen: Sequence[int]) -> Batch:
        """These rows with nothing but the answers counting."""
        return written([(self, row) for row in chosen], self.length, prompts_count=False)

    def teaches(self, row: int) -> bool:
        """Whether there is an answer in a row."""
        return any(self.corpus.answers_in(*piece) for block in self.rows[row] for piece in block)

    def write(self, row: int, into: _Blank, line: int, prompt_weight: float) -> None:
        """Lay the documents of a row side by side into a line of a batch."""
        for number, (at, (first, count)) in enumerate(placed(self.rows[row], self._block)):
            here, asked = slice(at, at + count), slice(at, at + count - 1)
            into.tokens[line, here] = self.corpus.tokens[first : first + count]
            # what a token is asked for is its successor, so the successor decides what it counts
            answered = self.corpus.answer[first + 1 : first + count]
            into.weights[line, asked] = numpy.where(answered, 1.0, prompt_weight)
            into.replies[line, asked] = answered & self.told_apart
            into.positions[line, here] = into.places[:count]
            into.documents[line, here] = number


def written(rows: Sequence[tuple[PackedCorpus, int]], length: int, *, prompts_count: bool = True) -> Batch:
    """A batch of rows of several corpora; prompts count what their corpus says, or nothing."""
    blank = _Blank(len(rows), length)
    for line, (corpus, row) in enumerate(rows):
        corpus.write(row, blank, line, corpus.prompt_weight if prompts_count else 0.0)
    return blank.batch()


def joined(rows: Sequence[Batch]) -> Batch:
    """Batches of rows of one length below each other."""
    return Batch(**{field: torch.cat([getattr(row, field) for row in rows]) for field in _FIELDS})
