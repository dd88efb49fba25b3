"""What a report says in words: of promises, and of where a member keeps least."""

from minikin.measure.metrics import metrics_of
from minikin.measure.records import Bucket, By, FamilyReport, Verdicted
from minikin.measure.retention import TOO_CLOSE, comparable

_PARTS: dict[By, str] = {
    "length": "inputs of {} words",
    "rarity": "inputs whose rarest word was trained on {} times",
    "complexity": "inputs of complexity {}",
}


def promise_sentence(member: str, first: str, promise: Verdicted) -> str:
    """One honest sentence: what was promised, what is measured, what follows."""
    if promise.name in ("memory", "compute"):
        return (
            f"{member} takes {promise.value:.1%} of {first}'s {promise.name}; "
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

    Parts on which it keeps everything are none, however much better it is elsewhere.
    """
    first, member, metric = next(iter(report.members)), report.members[name], metrics_of(task)[0].name
    reference, overall = report.members[first], member.retention[task][metric].value
    chance = report.chance[metric]
    if not comparable(reference.scores[task][metric], chance):
        return f"{first}'s {task} {TOO_CLOSE}, so nothing says where {name} keeps least."
    worse = [
        bucket
        for bucket, theirs in zip(member.limits, reference.limits, strict=True)
        if bucket.task == task and comparable(theirs.score, chance) and bucket.retention.high < min(1, overall)
    ]
    if not worse:
        return f"On no part of {task} does {name} keep clearly less of {first} than in all ({overall:.1%})."
    return _told(name, first, min(worse, key=lambda bucket: bucket.retention.value), overall)


def _told(name: str, first: str, bucket: Bucket, overall: float) -> str:
    kept = bucket.retention
    return (
        f"{name} keeps least of {first}'s {bucket.task} on {_PARTS[bucket.by].format(bucket.label)}: "
        f"{kept.value:.1%} ({kept.low:.1%} to {kept.high:.1%}), {overall:.1%} in all."
    )
