"""Where the small ones hurt: scores and what is kept by the input's length, its rarest word and its complexity."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy

from minikin.measure.metrics import metrics_of, scored
from minikin.measure.records import Answer, Bucket, By, Interval
from minikin.measure.retention import ratio_interval, resampled, score_interval

_LEAST = 20  # fewer examples in a bucket say nothing
_OTHER = "other"  # labels of fewer examples than that
Part = tuple[str, list[int]]  # what a bucket is called, and which answers it holds


def words(text: str) -> list[str]:
    """Lower-case words as both training counts and buckets see them."""
    bare = (word.strip(".,;:!?–\"'()") for word in text.lower().split())
    return [word for word in bare if word]


def limits(
    answers: Sequence[Answer],
    reference: Sequence[Answer],
    frequency: Mapping[str, int],
    resamples: int,
    seed: int,
) -> tuple[Bucket, ...]:
    """Buckets of one task's answers, each with the first metric of the task, and what is kept of the reference's.

    `reference` are the first member's answers to the same questions in the same order.
    """
    asked = [words(answer.source) for answer in answers]
    parts: dict[By, list[Part]] = {
        "length": _quarters([float(len(said)) for said in asked]),
        "rarity": _quarters([float(min(frequency.get(word, 0) for word in said or [""])) for said in asked]),
        "complexity": _by_complexity([answer.complexity for answer in answers]),
    }
    found = []
    for by, chosen in parts.items():
        for label, places in chosen:
            part, against = ([given[place] for place in places] for given in (answers, reference))
            score, retention = _score_and_retention(part, against, resamples, seed)
            found.append(Bucket(task=part[0].task, by=by, label=label, score=score, retention=retention))
    return tuple(found)


def _score_and_retention(
    part: Sequence[Answer], reference: Sequence[Answer], resamples: int, seed: int
) -> tuple[Interval, Interval]:
    metric = metrics_of(part[0].task)[0]
    drawn = resampled([answer.example for answer in part], resamples, seed)
    table, score = scored(metric, _grouped(part))
    against, _ = scored(metric, _grouped(reference))
    return score_interval(table, score, drawn), ratio_interval(table, against, score, drawn)


def _grouped(part: Sequence[Answer]) -> Sequence[Answer]:
    """The answers in their groups, or all in one where a group is so small that it would be mostly noise."""
    groups = [answer.group for answer in part]
    if min(groups.count(group) for group in set(groups)) >= _LEAST:
        return part
    return [replace(answer, group="") for answer in part]


def _by_complexity(told: Sequence[float | str | None]) -> list[Part]:
    """Quarters of the numbers, and a bucket for each label."""
    numbers = {index: float(value) for index, value in enumerate(told) if isinstance(value, int | float)}
    places = list(numbers)
    quarters = _quarters(list(numbers.values())) if numbers else []
    return [*((label, [places[index] for index in chosen]) for label, chosen in quarters), *_labelled(told)]


def _labelled(told: Sequence[float | str | None]) -> Iterator[Part]:
    """A bucket for each label; those of too few examples share one."""
    labels = [value if isinstance(value, str) else None for value in told]
    known = sorted({label for label in labels if label is not None})
    few = {label for label in known if labels.count(label) < _LEAST}
    for label in known:
        if label not in few:
            yield label, [index for index, found in enumerate(labels) if found == label]
    if few:
        yield _OTHER, [index for index, found in enumerate(labels) if found in few]


def _quarters(values: Sequence[float]) -> list[Part]:
    """Quarters by value; equal values stay together, and a quarter with too few examples joins its neighbour."""
    edges = numpy.unique(numpy.quantile(values, (0.25, 0.5, 0.75)))
    places = numpy.searchsorted(edges, values, side="left")
    groups: list[list[int]] = []
    for place in range(len(edges) + 1):
        members = numpy.flatnonzero(places == place).tolist()
        if groups and len(groups[-1]) < _LEAST:
            groups[-1] += members
        elif members:
            groups.append(members)
    if len(groups) > 1 and len(groups[-1]) < _LEAST:
        last = groups.pop()
        groups[-1] += last
    digits = 0 if all(value.is_integer() for value in values) else 1
    return [(_range([values[index] for index in group], digits), group) for group in groups]


def _range(values: Sequence[float], digits: int) -> str:
    low, high = (f"{value:,.{digits}f}" for value in (min(values), max(values)))
    return low if low == high else f"{low}–{high}"
