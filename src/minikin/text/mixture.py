"""Rows of several corpora by their shares, as a pure function of seed and step.

There is no reader's state to save: batch(step) is the same in whatever order steps are asked for.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy
from numpy.typing import NDArray

from minikin.base.errors import DataError
from minikin.base.seeds import numpy_generator
from minikin.text.batches import Batch, PackedCorpus, written

_LONGEST_CYCLE = 200_000
_LOOK_BACK = 50  # rows looked through for each row that is wanted of a task


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
        """The last rows of each task, `rows` at most, that have an answer, and not one written by a model.

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


def apportioned(shares: Sequence[float]) -> tuple[NDArray[numpy.int64], NDArray[numpy.int64]]:
    """Who owns each row of a cycle, and which of the owner's rows it is.

    Each row goes to whoever is furthest behind, so after n rows everybody has had nearly their part.
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
