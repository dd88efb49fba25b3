"""Where the small ones hurt: scores by the input's length and by its rarest word."""

from collections.abc import Mapping, Sequence

import numpy

from minikin.measure.metrics import metrics_of, scored
from minikin.measure.records import Answer, Bucket
from minikin.measure.retention import resampled, score_interval

_LEAST = 20  # fewer examples in a bucket say nothing


def words(text: str) -> list[str]:
    """Lower-case words as both training counts and buckets see them."""
    bare = (word.strip(".,;:!?–\"'()") for word in text.lower().split())
    return [word for word in bare if word]


def limits(answers: Sequence[Answer], frequency: Mapping[str, int], resamples: int, seed: int) -> tuple[Bucket, ...]:
    """Buckets of one task's answers, each with the first metric of the task."""
    lengths = [float(len(words(answer.source))) for answer in answers]
    rarity = [float(min(frequency.get(word, 0) for word in words(answer.source) or [""])) for answer in answers]
    by_length, by_rarity = _buckets(lengths), _buckets(rarity)
    found = []
    for by, buckets in (("length", by_length), ("rarity", by_rarity)):
        for label, chosen in buckets:
            part = [answers[index] for index in chosen]
            metric = metrics_of(part[0].task)[0]
            counts = resampled([answer.example for answer in part], resamples, seed)
            score = score_interval(*scored(metric, part), counts)
            found.append(Bucket(task=part[0].task, by=by, label=label, score=score))  # type: ignore[arg-type]
    return tuple(found)


def _buckets(values: Sequence[float]) -> list[tuple[str, list[int]]]:
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
    return [(_range([values[index] for index in group]), group) for group in groups]


def _range(values: Sequence[float]) -> str:
    low, high = (f"{value:,.0f}" for value in (min(values), max(values)))
    return low if low == high else f"{low}–{high}"
