"""Documents packed into rows of one length, and batches as a pure function of seed and step.

A row holds whole documents side by side, none of which sees another. A document longer than a row is
cut into pieces of a row's length; no token is lost. There is no reader's state to save: batch(step) is
the same in whatever order steps are asked for.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy
import torch
from numpy.typing import NDArray
from torch import Tensor

from minikin.base.errors import DataError
from minikin.base.seeds import numpy_generator
from minikin.base.shapes import Documents, Positions, Tokens, Weights
from minikin.text.corpus import Corpus
from minikin.text.packing import Rows, pieces, placed

_LONGEST_CYCLE = 200_000
_LOOK_BACK = 50  # rows looked through for each row that is wanted of a task
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


@dataclass(frozen=True, kw_only=True)
class Share:
    """A corpus and its part of all rows; shares of a mixture need not add up to one. `task` is what it is for.

    `by_people` tells it from what a model wrote.
    """

    task: str
    name: str
    rows: PackedCorpus
    share: float
    by_people: bool = True


@final
class Mixture:
    """Batches of `batch_rows` rows drawn from several corpora by their shares."""

    def __init__(self, shares: Sequence[Share], batch_rows: int, seed: int) -> None:
        self._shares, self._seed = tuple(shares), seed
        self.batch_rows, self.length = batch_rows, shares[0].rows.length
        self._owners, self._turns = apportioned([share.share for share in shares])
        if missing := [share.name for index, share in enumerate(shares) if index not in self._owners]:
            raise DataError(f"{missing[0]}: has less than one row in {_LONGEST_CYCLE:,}; raise its weight or share")
        self._each = numpy.bincount(self._owners, minlength=len(shares))
        self._orders = dict[int, tuple[int, NDArray[numpy.int64]]]()  # of each share, an epoch and its order of rows

    @property
    def batch_tokens(self) -> int:
        """Tokens a batch has room for."""
        return self.batch_rows * self.length

    def batch(self, step: int) -> Batch:
        """Batch `step`, counted from 0."""
        return written(self._places(step), self.length)

    def answers(self, step: int) -> Batch:
        """Batch `step` with nothing but the answers counting."""
        return written(self._places(step), self.length, prompts_count=False)

    def recent(self, steps: int, rows: int) -> dict[str, Batch]:
        """The last `rows` rows of each task seen in `steps` steps that have an answer, and not one written by a model.

        Only answers count in them. So their loss can be held against that of data: what models write is easier.
        """
        seen: dict[str, list[tuple[PackedCorpus, int]]] = {share.task: [] for share in self._shares}
        last = steps * self.batch_rows - 1
        for number in range(last, max(-1, last - _LOOK_BACK * rows), -1):
            share, row = self._place(number)
            if share.by_people and len(seen[share.task]) < rows and share.rows.teaches(row):
                seen[share.task].append((share.rows, row))
        return {task: written(found, self.length, prompts_count=False) for task, found in seen.items() if found}

    def parts(self, task: str) -> list[float]:
        """How much of all rows is from each of a task's sources, in order; what a model wrote is none of them."""
        whole = sum(share.share for share in self._shares)
        return [share.share / whole for share in self._shares if share.task == task and share.by_people]

    def epochs(self, steps: int) -> dict[str, float]:
        """How often each corpus has been seen after this many steps."""
        rows = steps * self.batch_rows / len(self._owners)
        return {
            share.name: rows * int(each) / len(share.rows) for share, each in zip(self._shares, self._each, strict=True)
        }

    def repeats(self, steps: int) -> float:
        """How often a row was seen after this many steps, on average over those that were."""
        rows = steps * self.batch_rows / len(self._owners)
        seen = [max(1.0, rows * int(each)) for each in self._each]
        distinct = [min(part, len(share.rows)) for part, share in zip(seen, self._shares, strict=True)]
        return sum(seen) / sum(distinct)

    def _places(self, step: int) -> list[tuple[PackedCorpus, int]]:
        first = step * self.batch_rows
        places = (self._place(number) for number in range(first, first + self.batch_rows))
        return [(share.rows, row) for share, row in places]

    def _place(self, number: int) -> tuple[Share, int]:
        cycle, place = divmod(number, len(self._owners))
        owner = int(self._owners[place])
        share = self._shares[owner]
        epoch, position = divmod(cycle * int(self._each[owner]) + int(self._turns[place]), len(share.rows))
        return share, int(self._order(owner, epoch)[position])

    def _order(self, owner: int, epoch: int) -> NDArray[numpy.int64]:
        """In which order a share's rows come in an epoch; the last one asked for is kept."""
        known = self._orders.get(owner)
        if known is None or known[0] != epoch:
            share = self._shares[owner]
            known = epoch, numpy_generator(self._seed, "rows", share.name, epoch).permutation(len(share.rows))
            self._orders[owner] = known
        return known[1]


def written(rows: Sequence[tuple[PackedCorpus, int]], length: int, *, prompts_count: bool = True) -> Batch:
    """A batch of rows of several corpora; prompts count what their corpus says, or nothing."""
    blank = _Blank(len(rows), length)
    for line, (corpus, row) in enumerate(rows):
        corpus.write(row, blank, line, corpus.prompt_weight if prompts_count else 0.0)
    return blank.batch()


def joined(rows: Sequence[Batch]) -> Batch:
    """Batches of rows of one length below each other."""
    return Batch(**{field: torch.cat([getattr(row, field) for row in rows]) for field in _FIELDS})


def apportioned(shares: Sequence[float]) -> tuple[NDArray[numpy.int64], NDArray[numpy.int64]]:
    """Who owns each row of a cycle, and which of the owner's rows it is.

    Each row goes to whoever is furthest behind, so after n rows everybody has had their part, give or take one.
    A cycle is as long as the smallest share needs to have a hundred rows.
    """
    cycle = min(_LONGEST_CYCLE, int(100 * sum(shares) / min(shares)))
    parts = numpy.asarray(shares, dtype=numpy.float64) / sum(shares)
    counts = numpy.zeros(len(parts))
    owners, turns = [], []
    for number in range(1, cycle + 1):
        owner = int(numpy.argmax(parts * number - counts))
        owners.append(owner)
        turns.append(int(counts[owner]))
        counts[owner] += 1
    return numpy.asarray(owners), numpy.asarray(turns)
