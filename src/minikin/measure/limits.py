"""Where the small ones hurt: scores and what is kept by the input's length, its rarest word and its complexity."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy

from minikin.measure.metrics import metrics_of, scored
from minikin.measure.records import Answer, Bucket, By, Interval
from minikin.measure.retention import LEAST, ratio_interval, resampled, score_interval

_OTHER = "other"  # labels of too few examples for a bucket of their own
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

    A bucket has at least 20 examples, however many answers each of them has, unless there is no more to join it to.
    `reference` are the first member's answers to the same questions in the same order.
    """
    asked, examples = [words(answer.source) for answer in answers], [answer.example for answer in answers]
    rarest = [float(min(frequency.get(word, 0) for word in said or [""])) for said in asked]
    parts: dict[By, list[Part]] = {
        "length": _quarters([float(len(said)) for said in asked], examples),
        "rarity": _quarters(rarest, examples),
        "complexity": _by_complexity([answer.complexity for answer in answers], examples),
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
    if min(groups.count(group) for group in set(groups)) >= LEAST:
        return part
    return [replace(answer, group="") for answer in part]


def _by_complexity(told: Sequence[float | str | None], examples: Sequence[int]) -> list[Part]:
    """Quarters of the numbers, and a bucket for each label."""
    numbers = {index: float(value) for index, value in enumerate(told) if isinstance(value, int | float)}
    places = list(numbers)
    quarters = _quarters(list(numbers.values()), [examples[place] for place in places]) if numbers else []
    quarters = [(label, [places[index] for index in chosen]) for label, chosen in quarters]
    return [*quarters, *_labelled(told, examples)]


def _labelled(told: Sequence[float | str | None], examples: Sequence[int]) -> Iterator[Part]:
    """A bucket for each label; those of too few examples share one."""
    known = sorted({label for label in told if isinstance(label, str)})
    found = {label: [index for index, value in enumerate(told) if value == label] for label in known}
    few = [label for label in known if _too_few(found[label], examples)]
    yield from ((label, places) for label, places in found.items() if label not in few)
    if few:
        yield _OTHER, sorted(index for label in few for index in found[label])


def _quarters(values: Sequence[float], examples: Sequence[int]) -> list[Part]:
    """Quarters by value; equal values stay together, and a quarter with too few examples joins its neighbour."""
    edges = numpy.unique(numpy.quantile(values, (0.25, 0.5, 0.75)))
    places = numpy.searchsorted(edges, values, side="left")
    groups: list[list[int]] = []
    for place in range(len(edges) + 1):
        members = numpy.flatnonzero(places == place).tolist()
        if groups and _too_few(groups[-1], examples):
            groups[-1] += members
        elif members:
            groups.append(members)
    if len(groups) > 1 and _too_few(groups[-1], examples):
        last = groups.pop()
        groups[-1] += last
    digits = 0 if all(value.is_integer() for value in values) else 1
    return [(_range([values[index] for index in group], digits), group) for group in groups]


def _too_few(places: Sequence[int], examples: Sequence[int]) -> bool:
    """Whether answers are of so few examples that they say nothing; two to one example are not two."""
    return len({examples[place] for place in places}) < LEAST


def _range(values: Sequence[float], digits: int) -> str:
    low, high = (f"{value:,.{digits}f}" for value in (min(values), max(values)))
    return low if low == high else f"{low}–{high}"
