"""From answers, shapes and measurements to the family's report."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from minikin.base.device import describe
from minikin.base.files import digest, read_json
from minikin.base.seeds import seed_for
from minikin.family.answering import answers_name, read_answers
from minikin.family.recipe import Promise
from minikin.family.site import Site
from minikin.measure.efficiency import efficiency
from minikin.measure.limits import limits
from minikin.measure.metrics import Metric, metrics_of, scored
from minikin.measure.records import (
    Answer,
    Bucket,
    CurvePoint,
    FamilyReport,
    Interval,
    MemberReport,
    Precision,
    Sample,
    Training,
    Verdicted,
)
from minikin.measure.retention import Counts, cost_promise, quality_promise, ratio_interval, resampled, score_interval
from minikin.text.overlap import Overlap

_SAMPLES = 4  # a task
Scores = dict[str, dict[str, Interval]]
Answers = Mapping[str, Sequence[Answer]]  # by task


def summarize(site: Site, overlap: dict[str, Overlap], told: dict[str, str]) -> FamilyReport:
    """Score every member, compare it with the first, and measure what it costs; `told` is added to how it was done."""
    answers = {name: _by_task(read_answers(site, name)) for name in site.recipe.member}
    machine = describe()
    return FamilyReport(
        recipe=site.recipe.name,
        recipe_digest=digest(site.recipe.model_dump_json()),
        machine=asdict(machine),
        how=_how(site, answers[site.recipe.first]) | told,
        members={name: _member(site, name, answers, machine.threads) for name in site.recipe.member},
        samples=_samples(answers),
        overlap=overlap,
    )


def _member(site: Site, name: str, answers: Mapping[str, Answers], threads: int) -> MemberReport:
    member, planned = site.recipe.member[name], site.planned[name]
    retention = _retention(site, answers[name], answers[site.recipe.first])
    return MemberReport(
        parent=member.parent,
        shape=asdict(planned.config),
        efficiency=efficiency(site.store.folder(name), threads),
        scores=_scores(site, answers[name]),
        retention=retention,
        promises=_promises(member.promise, retention, planned.compute_ratio, planned.memory_ratio),
        training=_training(site, name),
        limits=_limits(site, answers[name]),
        precisions={kind: _precision(site, name, kind, answers[name]) for kind in site.recipe.measure.precisions},
    )


def _precision(site: Site, name: str, kind: str, own: Answers) -> Precision:
    rounded = _by_task(read_answers(site, name, kind))
    return Precision(
        bytes=site.results.provenance(answers_name(name, kind))["bytes"],
        scores=_scores(site, rounded),
        retention=_retention(site, rounded, own),
    )


def _scores(site: Site, answers: Answers) -> Scores:
    return {
        task: {
            metric.name: score_interval(*scored(metric, given), _draws(site, task, given))
            for metric in metrics_of(task)
        }
        for task, given in answers.items()
    }


def _retention(site: Site, answers: Answers, reference: Answers) -> Scores:
    return {
        task: {metric.name: _kept(site, metric, given, reference[task]) for metric in metrics_of(task)}
        for task, given in answers.items()
    }


def _kept(site: Site, metric: Metric, answers: Sequence[Answer], reference: Sequence[Answer]) -> Interval:
    table, score = scored(metric, answers)
    return ratio_interval(table, scored(metric, reference)[0], score, _draws(site, answers[0].task, answers))


def _promises(promise: Promise, retention: Scores, compute: float, memory: float) -> tuple[Verdicted, ...]:
    targets = promise.model_dump(exclude_none=True)
    kept = [quality_promise(task, targets[task], retention[task]) for task in retention if task in targets]
    costs = {"memory": memory, "compute": compute}
    return (*kept, *(cost_promise(name, targets[name], costs[name]) for name in costs if name in targets))


def _training(site: Site, name: str) -> Training:
    facts = site.store.provenance(name)
    curve = tuple(
        CurvePoint(tokens=point["tokens"], loss=point["loss"], held_out=point["held_out"]) for point in facts["curve"]
    )
    return Training(
        tokens=facts["tokens"],
        flops=facts["training_flops"],
        seconds=facts["seconds"],
        objective=", ".join(_told(facts)),
        curve=curve,
        gap=facts["gap"],
    )


def _told(facts: Mapping[str, Any]) -> Iterator[str]:
    if facts["parent"]:
        yield f"cut from {facts['parent']}"
    if facts["origin"]:
        yield f"taken from {facts['origin']}"
    if facts["teacher"]:
        yield f"distilled from {facts['teacher']}"
    elif facts["tokens"]:
        yield "next token"


def _limits(site: Site, answers: Answers) -> tuple[Bucket, ...]:
    frequency = read_json(site.store.folder("data") / "words.json")
    measure, seed = site.recipe.measure, seed_for(site.recipe.seed, "limits")
    return tuple(bucket for given in answers.values() for bucket in limits(given, frequency, measure.resamples, seed))


def _draws(site: Site, task: str, answers: Sequence[Answer]) -> Counts:
    examples = [answer.example for answer in answers]
    return resampled(examples, site.recipe.measure.resamples, seed_for(site.recipe.seed, "bootstrap", task))


def _by_task(answers: Sequence[Answer]) -> Answers:
    tasks = dict.fromkeys(answer.task for answer in answers)
    return {task: [answer for answer in answers if answer.task == task] for task in tasks}


def _how(site: Site, answers: Answers) -> dict[str, str]:
    measure = site.recipe.measure
    found = {
        metric.name: f"{metric.signature}; {_counted(given)}"
        for task, given in answers.items()
        for metric in metrics_of(task)
    }
    found["intervals"] = (
        f"95 % percentile bootstrap, {measure.resamples} resamples of the examples, seed {site.recipe.seed}; "
        "retention is the ratio of scores on the same resamples; a pair asked both ways is drawn as one"
    )
    if "hits@1" in found:
        by_vectors = site.recipe.data.replies_told_apart
        found["hits@1"] += ", by cosine of conversation and reply" if by_vectors else ", by log-probability a token"
    found["answers"] = _written(site, answers)
    return found


def _written(site: Site, answers: Answers) -> str:
    """How answers were written: once for all tasks if they agree."""
    told = {task: str(site.recipe.measure.decoding_of(task)) for task in answers}
    if len(set(told.values())) == 1:
        return next(iter(told.values()))
    return "; ".join(f"{task}: {how}" for task, how in told.items())


def _counted(answers: Sequence[Answer]) -> str:
    """How many answers, and what else a score of them should be read with."""
    groups, choices = sorted({answer.group for answer in answers}), {answer.candidates for answer in answers}
    said = f"n = {len(answers)}"
    if max(choices):
        said += f", {min(choices)} to {max(choices)} candidates" if len(choices) > 1 else f", {max(choices)} candidates"
    if cut := sum(answer.cut for answer in answers):
        said += f", {cut} prompt{'s' * (cut > 1)} cut to fit"
    return said + (f", mean over {', '.join(groups)}, each a corpus" if len(groups) > 1 else "")


def _samples(answers: Mapping[str, Answers]) -> tuple[Sample, ...]:
    first = next(iter(answers.values()))
    return tuple(
        Sample(
            task=task,
            source=given[index].source,
            reference=given[index].references[0],
            outputs={name: by_task[task][index].output for name, by_task in answers.items()},
        )
        for task, given in first.items()
        for index in sorted({place * len(given) // _SAMPLES for place in range(_SAMPLES)})
    )
