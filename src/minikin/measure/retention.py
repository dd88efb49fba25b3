"""Intervals of scores, and what a member keeps of another: ratios on the same resampled examples.

95 % percentile bootstrap over examples (Efron 1979; for translation, Koehn 2004). The ratio is paired: both
members are scored on the same resample, so what makes an example hard for both cancels.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy
from numpy.typing import NDArray

from minikin.measure.metrics import Score, Table
from minikin.measure.records import Interval, Verdict, Verdicted

LEAST = 20  # examples; the bootstrap of fewer is too narrow to say anything
TOO_CLOSE = "is too close to chance to compare"
_RANKS: tuple[Verdict, ...] = ("missed", "undecided", "kept")


@dataclass(frozen=True, kw_only=True)
class Resamples:
    """How often each answer was drawn, `counts` [resamples, answers], and of how many examples."""

    counts: NDArray[numpy.float64]
    examples: int


def resampled(examples: Sequence[int], resamples: int, seed: int) -> Resamples:
    """Resamples of answers, given the example that each is of.

    Whole examples are drawn: two answers to one example, such as a pair translated both ways, are not independent.
    """
    names, places = numpy.unique(numpy.asarray(examples), return_inverse=True)
    generator = numpy.random.default_rng(seed)
    drawn = generator.multinomial(len(names), numpy.full(len(names), 1 / len(names)), resamples)
    return Resamples(counts=drawn[:, places].astype(numpy.float64), examples=len(names))


def score_interval(table: Table, score: Score, drawn: Resamples) -> Interval:
    """A score and where 95 % of its resamples lie."""
    return _interval(score(table.sum(0)), _scores(table, score, drawn), drawn.examples)


def ratio_interval(member: Table, reference: Table, score: Score, drawn: Resamples) -> Interval:
    """Share of the reference's score that a member keeps; 0 where the reference scores 0."""
    value = _ratio(score(member.sum(0)), score(reference.sum(0)))
    pairs = zip(_scores(member, score, drawn), _scores(reference, score, drawn), strict=True)
    return _interval(value, [_ratio(mine, theirs) for mine, theirs in pairs], drawn.examples)


def comparable(reference: Interval, chance: float) -> bool:
    """Whether shares of a score say anything: not if its interval reaches down to what guessing scores."""
    return reference.low > chance


def quality_promise(
    name: str, target: float, retention: Mapping[str, Interval], too_close: Collection[str] = ()
) -> Verdicted:
    """The promise of a task; of its metrics the one that keeps it least counts.

    Nothing is decided by metrics whose reference is too close to chance.
    """
    verdicts: dict[str, Verdict] = {
        metric: "undecided" if metric in too_close else verdict(kept, target) for metric, kept in retention.items()
    }
    weakest = min(retention, key=lambda metric: (_RANKS.index(verdicts[metric]), retention[metric].value))
    kept = retention[weakest]
    few = f"fewer than {LEAST} examples" if kept.n < LEAST else ""
    reason = f"the first member's {weakest} {TOO_CLOSE}" if weakest in too_close else few
    return Verdicted(
        name=name,
        target=target,
        value=kept.value,
        low=kept.low,
        high=kept.high,
        verdict=verdicts[weakest],
        reason=reason,
    )


def cost_promise(name: str, limit: float, ratio: float) -> Verdicted:
    """A promise about a counted cost: exact, so kept or missed."""
    kept: Verdict = "kept" if ratio <= limit else "missed"
    return Verdicted(name=name, target=limit, value=ratio, low=ratio, high=ratio, verdict=kept)


def verdict(interval: Interval, target: float) -> Verdict:
    """Kept if the whole interval is at or above the target, missed if all below, else undecided."""
    if interval.n < LEAST:
        return "undecided"
    if interval.low >= target:
        return "kept"
    return "missed" if interval.high < target else "undecided"


def _scores(table: Table, score: Score, drawn: Resamples) -> list[float]:
    return [score(sums) for sums in drawn.counts @ table]


def _ratio(mine: float, theirs: float) -> float:
    return mine / theirs if theirs > 0 else 0.0


def _interval(value: float, drawn: list[float], examples: int) -> Interval:
    low, high = numpy.percentile(drawn, (2.5, 97.5))
    return Interval(value=value, low=float(low), high=float(high), n=examples)
