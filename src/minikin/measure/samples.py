"""Examples to read: typical ones, and those on which the last member falls furthest behind the first."""

from collections.abc import Mapping, Sequence
from typing import Literal

from minikin.measure.metrics import sentence_score
from minikin.measure.records import Answer, Sample

_TYPICAL = 4  # a task
_HURTING = 10  # over all tasks

Answers = Mapping[str, Sequence[Answer]]  # by task


def samples(answers: Mapping[str, Answers]) -> tuple[Sample, ...]:
    """Of the answers by member and task: the worst falls, dealt out over the tasks, then some spread over each test."""
    by_task = [{name: given[task] for name, given in answers.items()} for task in next(iter(answers.values()))]
    return (
        *(_sample("hurts most", by_task[task], index) for task, index in _dealt([_worst(given) for given in by_task])),
        *(_sample("typical", given, index) for given in by_task for index in _spread(given)),
    )


def _dealt(worst: Sequence[Sequence[int]]) -> list[tuple[int, int]]:
    """Task and index: the first of each task, then the second, until there are enough; in the tasks' order."""
    ranked = sorted((rank, task) for task, found in enumerate(worst) for rank in range(len(found)))[:_HURTING]
    return [(task, worst[task][rank]) for task, rank in sorted((task, rank) for rank, task in ranked)]


def _worst(given: Mapping[str, Sequence[Answer]]) -> list[int]:
    """Where the last member loses anything, the largest losses first: true replies that it misses, then points."""
    first, last = next(iter(given.values())), list(given.values())[-1]
    losses = [
        (_missed(mine, theirs), sentence_score(mine) - sentence_score(theirs))
        for mine, theirs in zip(first, last, strict=True)
    ]
    hurting = [index for index, (missed, points) in enumerate(losses) if missed or points > 0]
    return sorted(hurting, key=lambda index: (*(-part for part in losses[index]), index))


def _missed(first: Answer, last: Answer) -> bool:
    return bool(first.hit) and last.hit is False


def _spread(given: Mapping[str, Sequence[Answer]]) -> list[int]:
    size = len(next(iter(given.values())))
    return sorted({place * size // _TYPICAL for place in range(_TYPICAL)})


def _sample(kind: Literal["typical", "hurts most"], given: Mapping[str, Sequence[Answer]], index: int) -> Sample:
    said = {name: answers[index] for name, answers in given.items()}
    asked = next(iter(said.values()))
    return Sample(
        kind=kind,
        task=asked.task,
        source=asked.source,
        reference=asked.references[0],
        outputs={name: answer.output for name, answer in said.items()},
        scores={name: sentence_score(answer) for name, answer in said.items()},
        hits={name: answer.hit for name, answer in said.items() if answer.hit is not None},
    )
