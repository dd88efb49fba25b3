"""What a report says in words: of promises, and of where a member keeps least."""

from collections.abc import Sequence

from minikin.measure.metrics import metrics_of
from minikin.measure.records import Bucket, By, FamilyReport, Verdicted
from minikin.measure.retention import LEAST, TOO_CLOSE, comparable

COSTS = {"memory": "bytes of weights", "compute": "operations a token"}  # what is counted of each
KEPT_WIDER = (
    "vectors stay at 32 bits, matrices whose rows do not divide into blocks of 32 at 16 bits, "
    "and in q4_0 the embedding, attention and what joins per-layer tables to layers at 8 bits"
)
_PARTS: dict[By, str] = {
    "length": "inputs of {} words",
    "rarity": "inputs whose rarest word was trained on {} times",
    "complexity": "inputs of complexity {}",
}


def promise_sentence(member: str, first: str, promise: Verdicted) -> str:
    """One honest sentence: what was promised, what is measured, what follows."""
    if promise.name in COSTS:
        return (
            f"{member} takes {promise.value:.1%} of {first}'s {promise.name} ({COSTS[promise.name]}); "
            f"promised at most {promise.target:.0%}: {promise.verdict}"
        )
    if promise.reason:
        return f"{member} on {promise.name}; promised {promise.target:.0%}: {promise.verdict}, {promise.reason}"
    return (
        f"{member} keeps {promise.value:.1%} ({promise.low:.1%} to {promise.high:.1%}) of {first} on {promise.name}; "
        f"promised {promise.target:.0%}: {promise.verdict}"
    )


def least_kept(report: FamilyReport, name: str, task: str) -> str:
    """On which part of a task's test a member keeps least of the first, if that is clearly less than in all.

    Parts on which it keeps everything are none, however much better it is elsewhere, nor are those of few examples.
    Of how many parts it is the lowest is told: of many, one is low by chance.
    """
    first, member, metric = next(iter(report.members)), report.members[name], metrics_of(task)[0].name
    reference, overall = report.members[first], member.retention[task][metric].value
    chance = report.chance[metric]
    if not comparable(reference.scores[task][metric], chance):
        return f"{first}'s {task} {TOO_CLOSE}, so nothing says where {name} keeps least."
    looked_at = [
        bucket
        for bucket, theirs in zip(member.limits, reference.limits, strict=True)
        if bucket.task == task and bucket.score.n >= LEAST and comparable(theirs.score, chance)
    ]
    worse = [bucket for bucket in looked_at if bucket.retention.high < min(1, overall)]
    if not worse:
        parts = f"{_counted(len(looked_at))} of {LEAST} examples or more"
        return f"On no part of {task} does {name} keep clearly less of {first} than in all ({overall:.1%}; {parts})."
    return _told(name, first, min(worse, key=_kept), looked_at, overall)


def _told(name: str, first: str, bucket: Bucket, looked_at: Sequence[Bucket], overall: float) -> str:
    kept, lower = bucket.retention, sum(_kept(other) < _kept(bucket) for other in looked_at)
    aside = f", {lower} that {'is' if lower == 1 else 'are'} too uncertain aside" if lower else ""
    return (
        f"{name} keeps least of {first}'s {bucket.task} on {_PARTS[bucket.by].format(bucket.label)}: "
        f"{kept.value:.1%} ({kept.low:.1%} to {kept.high:.1%}), {overall:.1%} in all; "
        f"the lowest of {_counted(len(looked_at))}{aside}."
    )


def _kept(bucket: Bucket) -> float:
    return bucket.retention.value


def _counted(parts: int) -> str:
    return f"{parts} part{'s' * (parts != 1)}"
