"""From answers, shapes and measurements to the family's report."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from minikin.base.device import describe
from minikin.base.files import digest, read_json
from minikin.base.seeds import seed_for
from minikin.family.answering import read_answers
from minikin.family.history import training
from minikin.family.plan import PlannedMember
from minikin.family.recipe import Kind, Promise
from minikin.family.site import Site, quantized_name
from minikin.measure.efficiency import efficiency
from minikin.measure.limits import limits
from minikin.measure.metrics import Metric, chance, metrics_of, scored
from minikin.measure.records import (
    Answer,
    Bucket,
    FamilyReport,
    Interval,
    MemberReport,
    Precision,
    Verdicted,
)
from minikin.measure.retention import (
    Resamples,
    comparable,
    cost_promise,
    quality_promise,
    ratio_interval,
    resampled,
    score_interval,
)
from minikin.measure.samples import Answers, samples
from minikin.text.overlap import Overlap

Scores = dict[str, dict[str, Interval]]

_OF_A_MACHINE: Any = {"threads": True, "device": True, "compile": True, "checkpoint_seconds": True, "data": {"root"}}
_BY_VECTORS = ", by cosine of conversation and reply, and for the nearest by what the conversation adds to log p"


def summarize(site: Site, overlap: dict[str, Overlap], told: dict[str, str]) -> FamilyReport:
    """Score every member, compare it with the first, and measure what it costs; `told` is added to how it was done."""
    answers = {name: _by_task(read_answers(site, name)) for name in site.recipe.member}
    first, machine = answers[site.recipe.first], describe(site.device)
    levels = {name: level for given in first.values() for name, level in _chance(given).items()}
    too_close = _too_close(_scores(site, first), levels)
    members = {name: _member(site, name, answers, too_close, machine.threads) for name in site.recipe.member}
    return FamilyReport(
        recipe=site.recipe.name,
        recipe_digest=digest(site.recipe.model_dump_json(exclude=_OF_A_MACHINE)),
        machine=asdict(machine),
        how=_how(site, first) | _hollow(site, _scores(site, first), levels) | _utilisation(site, members) | told,
        chance=levels,
        group_chance={
            task: {group: _chance(given) for group, given in found.items()} for task, found in _by_group(first).items()
        },
        members=members,
        samples=samples(answers),
        overlap=overlap,
    )


def _member(
    site: Site, name: str, answers: Mapping[str, Answers], too_close: Collection[str], threads: int
) -> MemberReport:
    member, planned = site.recipe.member[name], site.planned[name]
    own, first = answers[name], answers[site.recipe.first]
    groups, first_groups, retention = _by_group(own), _by_group(first), _retention(site, own, first)
    return MemberReport(
        parent=member.parent,
        shape=asdict(planned.config),
        efficiency=efficiency(site.store.folder(name), threads),
        scores=_scores(site, own),
        retention=retention,
        group_scores={task: _scores(site, found) for task, found in groups.items()},
        group_retention={task: _retention(site, found, first_groups[task]) for task, found in groups.items()},
        promises=_promises(member.promise, retention, too_close, planned),
        training=training(site, name),
        limits=_limits(site, own, first),
        precisions={kind: _precision(site, name, kind, own) for kind in site.recipe.quantize},
    )


def _precision(site: Site, name: str, kind: Kind, own: Answers) -> Precision:
    rounded = _by_task(read_answers(site, name, kind))
    return Precision(
        bytes=site.store.provenance(quantized_name(name, kind))["bytes"],
        scores=_scores(site, rounded),
        retention=_retention(site, rounded, own),
    )


def _scores(site: Site, answers: Answers) -> Scores:
    return {
        name: {metric.name: _score(site, metric, given) for metric in metrics_of(given[0].task)}
        for name, given in answers.items()
    }


def _retention(site: Site, answers: Answers, reference: Answers) -> Scores:
    return {
        name: {metric.name: _kept(site, metric, given, reference[name]) for metric in metrics_of(given[0].task)}
        for name, given in answers.items()
    }


def _score(site: Site, metric: Metric, answers: Sequence[Answer]) -> Interval:
    return score_interval(*scored(metric, answers), _draws(site, answers))


def _kept(site: Site, metric: Metric, answers: Sequence[Answer], reference: Sequence[Answer]) -> Interval:
    table, score = scored(metric, answers)
    return ratio_interval(table, scored(metric, reference)[0], score, _draws(site, answers))


def _chance(answers: Sequence[Answer]) -> dict[str, float]:
    return {metric.name: chance(metric, answers) for metric in metrics_of(answers[0].task)}


def _too_close(scores: Scores, levels: Mapping[str, float]) -> set[str]:
    """The metrics of which no share says anything."""
    found = {metric: score for metrics in scores.values() for metric, score in metrics.items()}
    return {metric for metric, score in found.items() if not comparable(score, levels[metric])}


def _hollow(site: Site, scores: Scores, levels: Mapping[str, float]) -> dict[str, str]:
    """The promises that no skill at all would keep as well, in words."""
    told = []
    for task, metrics in scores.items():
        shares = {metric: levels[metric] / score.value for metric, score in metrics.items() if score.value > 0}
        least = min(shares, key=shares.__getitem__, default="")
        asked = {name: getattr(member.promise, task, None) for name, member in site.recipe.member.items()}
        if hollow := [name for name, target in asked.items() if target and least and target <= shares[least]]:
            kept = f"{task}: {shares[least]:.0%} of {site.recipe.first}'s {least} at least"
            told.append(f"{kept}, as much as is promised of {' and '.join(hollow)}")
    return {"what no skill would keep": "; ".join(told)} if told else {}


def _promises(
    promise: Promise, retention: Scores, too_close: Collection[str], planned: PlannedMember
) -> tuple[Verdicted, ...]:
    targets = promise.model_dump(exclude_none=True)
    kept = [quality_promise(task, targets[task], retention[task], too_close) for task in retention if task in targets]
    costs = {"memory": planned.memory_ratio, "compute": planned.compute_ratio}
    return (*kept, *(cost_promise(name, targets[name], costs[name]) for name in costs if name in targets))


def _limits(site: Site, answers: Answers, first: Answers) -> tuple[Bucket, ...]:
    frequency = read_json(site.store.folder("data") / "words.json")
    measure, seed = site.recipe.measure, seed_for(site.recipe.seed, "limits")
    return tuple(
        bucket
        for task, given in answers.items()
        for bucket in limits(given, first[task], frequency, measure.resamples, seed)
    )


def _draws(site: Site, answers: Sequence[Answer]) -> Resamples:
    examples = [answer.example for answer in answers]
    return resampled(examples, site.recipe.measure.resamples, seed_for(site.recipe.seed, "bootstrap", answers[0].task))


def _by_task(answers: Sequence[Answer]) -> Answers:
    tasks = dict.fromkeys(answer.task for answer in answers)
    return {task: [answer for answer in answers if answer.task == task] for task in tasks}


def _by_group(answers: Answers) -> dict[str, Answers]:
    """The groups of each task that is scored as the mean of several."""
    groups = {task: sorted({answer.group for answer in given}) for task, given in answers.items()}
    return {
        task: {group: [answer for answer in answers[task] if answer.group == group] for group in found}
        for task, found in groups.items()
        if len(found) > 1
    }


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
        found["hits@1"] += _BY_VECTORS if by_vectors else ", by log-probability a token"
    found["no skill"] = (
        "hits@1: guessing; else another example's reference as the answer, or, of summaries, if that scores more, "
        "the document's first words, as many as references have on average; at least one point"
    )
    found["answers"] = _written(site, answers)
    return found


def _utilisation(site: Site, members: Mapping[str, MemberReport]) -> dict[str, str]:
    """What a member's share of a peak is a share of, if one was trained on a GPU."""
    if all(member.training.mfu is None for member in members.values()):
        return {}
    peak = f"{site.recipe.hardware.flops_per_second / 1e12:,.0f} TFLOP/s of {site.recipe.hardware.name}"
    return {
        "mfu": f"training operations a second, attention left out, as a share of {peak}; "
        "time spent on held-out data and on saving counts as well"
    }


def _written(site: Site, answers: Answers) -> str:
    """How answers were written: once for all tasks if they agree."""
    told = {task: str(site.recipe.measure.decoding_of(task)) for task in answers}
    if len(set(told.values())) == 1:
        return next(iter(told.values()))
    return "; ".join(f"{task}: {how}" for task, how in told.items())


def _counted(answers: Sequence[Answer]) -> str:
    """Of how many examples answers are, and what else a score of them should be read with."""
    groups, choices = sorted({answer.group for answer in answers}), {answer.candidates for answer in answers}
    examples = len({answer.example for answer in answers})
    said = f"n = {examples}" + (f", {len(answers)} answers" if examples < len(answers) else "")
    if max(choices):
        said += f", {min(choices)} to {max(choices)} candidates" if len(choices) > 1 else f", {max(choices)} candidates"
    if cut := sum(answer.cut for answer in answers):
        said += f", {cut} prompt{'s' * (cut > 1)} cut to fit"
    return said + (f", mean over {', '.join(groups)}, each a corpus" if len(groups) > 1 else "")
