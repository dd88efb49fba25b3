"""The report and the plan at one glance, as tables for the terminal."""

from collections.abc import Iterator, Mapping

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from minikin.measure.records import FamilyReport, Interval, Verdicted, group_chance
from minikin.measure.retention import TOO_CLOSE, comparable
from minikin.measure.sentences import COSTS, KEPT_WIDER

_MOST_COLUMNS = 4  # members side by side
_NOTHING = "–"  # in place of a figure that would say nothing
_COSTS = ("multiplied", "looked up", "MB", "decode tok/s", "prefill tok/s", "RAM, MB")
_SIGNS = {"kept": ("✓ kept", "green"), "missed": ("✗ missed", "red"), "undecided": ("? undecided", "yellow")}


def tables(report: FamilyReport) -> RenderableType:
    """Quality, cost and promises of a family; limits, curves and examples are in the HTML."""
    return Group(
        _quality(report), _retention(report), _cost(report), _precisions(report), _promises(report), _overlap(report)
    )


def _quality(report: FamilyReport) -> RenderableType:
    """A column a member; where there are too many for columns, a table a task and a row a member."""
    title = f"{report.recipe}: quality, 95 % intervals"
    if len(report.members) <= _MOST_COLUMNS:
        return _quality_at_once(report, title)
    tasks = next(iter(report.members.values())).scores
    return Group(Text(title, style="italic"), *(table for task in tasks for table in _quality_of_task(report, task)))


def _quality_at_once(report: FamilyReport, title: str) -> Table:
    table = Table("task", "metric", title=title, title_justify="left")
    for name in ("no skill", *report.members):
        table.add_column(name, justify="right")
    first = next(iter(report.members.values()))
    for task, metrics in first.scores.items():
        for metric in metrics:
            scores = (member.scores[task][metric] for member in report.members.values())
            table.add_row(task, metric, f"{report.chance[metric]:.1f}", *map(_scored, scores))
        for group, found in first.group_scores.get(task, {}).items():
            for metric in found:
                scores = (member.group_scores[task][group][metric] for member in report.members.values())
                level = group_chance(report, task, group)[metric]
                table.add_row(Text(f"  {group}", style="dim"), metric, f"{level:.1f}", *map(_scored, scores))
        table.add_section()
    return table


def _quality_of_task(report: FamilyReport, task: str) -> Iterator[Table]:
    members = report.members
    yield _scores_of_members(task, {name: member.scores[task] for name, member in members.items()}, report.chance)
    for group in next(iter(members.values())).group_scores.get(task, {}):
        scores = {name: member.group_scores[task][group] for name, member in members.items()}
        yield _scores_of_members(group, scores, group_chance(report, task, group))


def _scores_of_members(what: str, scores: Mapping[str, Mapping[str, Interval]], levels: Mapping[str, float]) -> Table:
    table, metrics = Table(what), next(iter(scores.values()))
    for metric in metrics:
        table.add_column(metric, justify="right")
    table.add_row("no skill", *(f"{levels[metric]:.1f}" for metric in metrics), style="dim")
    for name, found in scores.items():
        table.add_row(name, *map(_scored, found.values()))
    return table


def _retention(report: FamilyReport) -> RenderableType:
    """What members keep of the first: a row a member, for there are more metrics than fit side by side."""
    (first, reference), *others = report.members.items()
    if not others:
        return Text()
    return Group(*(_kept_of_task(report, first, task, metrics) for task, metrics in reference.scores.items()))


def _kept_of_task(report: FamilyReport, first: str, task: str, reference: Mapping[str, Interval]) -> Table:
    table = Table("member", title=f"{task}: percent that it keeps of {first}", title_justify="left")
    for metric in reference:
        table.add_column(metric, justify="right")
    for name, member in report.members.items():
        if name != first:
            kept = member.retention[task]
            table.add_row(name, *(_kept(kept[each], score, report.chance[each]) for each, score in reference.items()))
    return table


def _scored(score: Interval) -> str:
    return f"{score.value:.1f} [{score.low:.1f}, {score.high:.1f}]"


def _cost(report: FamilyReport) -> RenderableType:
    table = Table("member", title="cost", title_justify="left")
    for title in _COSTS:
        table.add_column(title, justify="right")
    for name, member in report.members.items():
        cost = member.efficiency
        table.add_row(
            name,
            f"{cost.multiplied:,}",
            f"{cost.looked_up:,}",
            f"{cost.bytes['16'] / 1e6:.2f}",
            f"{cost.decode_tokens_per_second:,.0f}",
            f"{cost.prefill_tokens_per_second:,.0f}",
            f"{cost.peak_rss_bytes / 1e6:,.0f}",
        )
    how = next(iter(report.members.values())).efficiency.how
    counted = "multiplied, looked up: weights; MB: of all weights, as if each had 16 bits"
    return Group(table, Text(f"{counted}; tokens a second and peak RAM: {how}"))


def _precisions(report: FamilyReport) -> RenderableType:
    tasks = {task: next(iter(metrics)) for task, metrics in next(iter(report.members.values())).scores.items()}
    if not any(member.precisions for member in report.members.values()):
        return Text()
    title = "rounded as in a GGUF file of a type: percent that a member keeps of its own score"
    table = Table("member", "type", title=title, title_justify="left")
    for title in ("MB", *(f"{task} {metric}" for task, metric in tasks.items())):
        table.add_column(title, justify="right")
    close = False
    for name, member in report.members.items():
        for kind, precision in member.precisions.items():
            cells = [
                _kept(precision.retention[task][metric], member.scores[task][metric], report.chance[metric])
                for task, metric in tasks.items()
            ]
            close = close or _NOTHING in cells
            table.add_row(name, kind, f"{precision.bytes / 1e6:.2f}", *cells)
        table.add_section()
    told = [f"MB: of all weights; {KEPT_WIDER}", *([f"{_NOTHING}: its own score {TOO_CLOSE}"] if close else [])]
    return Group(table, *map(Text, told))


def _kept(share: Interval, reference: Interval, chance: float) -> str:
    if not comparable(reference, chance):
        return _NOTHING
    return f"{100 * share.value:.1f} [{100 * share.low:.1f}, {100 * share.high:.1f}]"


def _promises(report: FamilyReport) -> RenderableType:
    table = Table("member", "promise", title="promises against the first member", title_justify="left")
    for title in ("asked", "measured", "verdict"):
        table.add_column(title, justify="right")
    for name, member in report.members.items():
        for row in _promise_rows(member.promises):
            table.add_row(name, *row)
        table.add_section()
    promises = (promise for member in report.members.values() for promise in member.promises)
    told = dict.fromkeys(_told_of(promise) for promise in promises)
    return Group(table, *(Text(each) for each in told if each))


def _told_of(promise: Verdicted) -> str:
    """What a row of promises means, if that is not plain: what a cost counts, or why nothing is decided."""
    if promise.name in COSTS:
        return f"{promise.name}: {COSTS[promise.name]}"
    return f"{_NOTHING}: {promise.reason}" if promise.reason else ""


def _promise_rows(promises: tuple[Verdicted, ...]) -> Iterator[tuple[RenderableType, ...]]:
    for promise in promises:
        sign, color = _SIGNS[promise.verdict]
        cost = promise.name in COSTS
        interval = "" if cost else f" [{promise.low:.1%}, {promise.high:.1%}]"
        measured = _NOTHING if promise.reason else f"{promise.value:.1%}{interval}"
        asked = f"{'≤' if cost else '≥'} {promise.target:.0%}"
        yield promise.name, asked, measured, Text(sign, style=color)


def _overlap(report: FamilyReport) -> RenderableType:
    if not report.overlap:
        return Text()
    table = Table("task", title="how much of the test is in the training data", title_justify="left")
    for title in ("examples", "word for word", "nearly"):
        table.add_column(title, justify="right")
    for task, overlap in report.overlap.items():
        table.add_row(task, f"{overlap.examples:,}", f"{overlap.exact:,}", f"{overlap.near:,}")
    return table
