"""The report's plots as SVG, to be placed inside one HTML file. They read on a light and on a dark page."""

import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import matplotlib

matplotlib.use("svg")
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from minikin.measure.metrics import metrics_of
from minikin.measure.records import By, FamilyReport, Interval, MemberReport

# Okabe & Ito's palette: told apart by colour-blind eyes, and mid-bright enough for both backgrounds
_COLORS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")
_GREY = "#888888"
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "minikin",
    "font.family": "sans-serif",
    "font.size": 10,
    "text.color": _GREY,
    "axes.labelcolor": _GREY,
    "axes.edgecolor": _GREY,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": _GREY,
    "grid.alpha": 0.2,
    "xtick.color": _GREY,
    "ytick.color": _GREY,
}
_UNITS: dict[By, str] = {
    "length": "words in the input",
    "rarity": "times the rarest word was trained on",
    "complexity": "complexity",
}
_MARKERS = ("o", "s", "^", "D")


def quality_against(report: FamilyReport, cost: str) -> str:
    """Main score of each task against a counted cost: "memory" (bytes at 16 bits) or "compute" (FLOPs a token)."""
    figure, axes = _figure(1)
    label = {"memory": "megabytes at 16 bits", "compute": "million operations a token"}[cost]
    costs = {name: _cost(member, cost) for name, member in report.members.items()}
    for index, task in enumerate(_tasks(report)):
        metric = metrics_of(task)[0].name
        scores = [member.scores[task][metric] for member in report.members.values()]
        _intervals(axes[0], list(costs.values()), scores, index, f"{task} ({metric})")
    axes[0].set_xscale("log")
    axes[0].set_xticks(list(costs.values()), [f"{name}\n{value:.3g}" for name, value in costs.items()])
    axes[0].minorticks_off()
    top = _top(score for member in report.members.values() for score in _main(member))
    axes[0].set(xlabel=label, ylabel="score", ylim=(0, top))
    axes[0].legend(loc="best", frameon=False, labelcolor=_GREY)
    return _svg(figure)


def loss_curves(report: FamilyReport) -> str:
    """Held-out loss of each task over training tokens, a line a member; nothing if none was trained."""
    trained = {name: member.training.curve for name, member in report.members.items() if member.training.curve}
    watched = {task for curve in trained.values() for task in curve[-1].held_out}
    tasks = [task for task in _tasks(report) if task in watched]
    if not tasks:
        return ""
    figure, axes = _figure(len(tasks))
    for axis, task in zip(axes, tasks, strict=True):
        for name, points in trained.items():
            index = list(report.members).index(name)
            tokens, losses = [point.tokens / 1e6 for point in points], [point.held_out[task] for point in points]
            axis.plot(tokens, losses, label=name, markersize=4, **_looks(index))
        axis.set(title=task, xlabel="million tokens", ylim=(0, None))
    axes[0].set_ylabel("held-out loss, nats a token")
    axes[0].legend(frameon=False, labelcolor=_GREY)
    return _svg(figure)


def limits_plot(report: FamilyReport, by: By) -> str:
    """Score of each member on parts of the test, of the tasks that have such parts; nothing if none has."""
    divided = {bucket.task for bucket in next(iter(report.members.values())).limits if bucket.by == by}
    tasks = [task for task in _tasks(report) if task in divided]
    if not tasks:
        return ""
    figure, axes = _figure(len(tasks))
    for axis, task in zip(axes, tasks, strict=True):
        _draw_parts(axis, report, task, by)
        axis.set(title=f"{task} ({metrics_of(task)[0].name})", xlabel=_UNITS[by])
    axes[0].set_ylabel("score")
    axes[0].legend(loc="best", frameon=False, labelcolor=_GREY)
    return _svg(figure)


def _draw_parts(axis: Axes, report: FamilyReport, task: str, by: By) -> None:
    """The parts of a task's test side by side, and in each the members."""
    for index, (name, member) in enumerate(report.members.items()):
        buckets = [bucket for bucket in member.limits if bucket.task == task and bucket.by == by]
        places = [place + _beside(index, len(report.members)) for place in range(len(buckets))]
        _intervals(axis, places, [bucket.score for bucket in buckets], index, name)
        # a range as two lines: side by side four of them would overlap
        labels = [bucket.label.replace("–", "–\n") for bucket in buckets]
        axis.set_xticks(range(len(labels)), labels, fontsize=8)
        axis.set_xlim(-0.5, len(labels) - 0.5)
    scores = (bucket.score for member in report.members.values() for bucket in member.limits if bucket.task == task)
    axis.set_ylim(0, _top(scores))


def _beside(index: int, members: int) -> float:
    """How far from a part's middle a member is drawn; parts are 1 apart."""
    return 0.36 * ((index + 0.5) / members - 0.5)


def _intervals(axis: Axes, places: Sequence[float], scores: Sequence[Interval], index: int, label: str) -> None:
    """A line through scores, each with its interval; `index` is whose line it is."""
    below = [max(0.0, score.value - score.low) for score in scores]
    above = [max(0.0, score.high - score.value) for score in scores]
    values = [score.value for score in scores]
    axis.errorbar(places, values, yerr=[below, above], label=label, capsize=2, linewidth=1.2, **_looks(index))


def _looks(index: int) -> dict[str, Any]:
    return {"color": _COLORS[index % len(_COLORS)], "marker": _MARKERS[index % len(_MARKERS)]}


def _main(member: MemberReport) -> Iterator[Interval]:
    """A member's first metric of each task."""
    return (scores[metrics_of(task)[0].name] for task, scores in member.scores.items())


def _top(scores: Iterable[Interval]) -> float:
    """Where an axis of scores ends: above the highest, with room for the legend, but not far above 100."""
    return min(105.0, 1.4 * max((score.high for score in scores), default=75.0) + 1)


def _tasks(report: FamilyReport) -> list[str]:
    return list(next(iter(report.members.values())).scores)


def _cost(member: MemberReport, cost: str) -> float:
    efficiency = member.efficiency
    return efficiency.bytes["16"] / 1e6 if cost == "memory" else efficiency.flops_per_token / 1e6


def _figure(columns: int) -> tuple[Figure, Sequence[Axes]]:
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(6.0 if columns == 1 else 3.6 * columns, 3.6), layout="constrained")
        axes = figure.subplots(1, columns, squeeze=False)[0]
    return figure, list(axes)


def _svg(figure: Figure) -> str:
    text = io.StringIO()
    metadata: Mapping[str, None] = {"Date": None, "Creator": None}
    with matplotlib.rc_context(_STYLE):
        figure.savefig(text, format="svg", transparent=True, metadata=metadata)
    svg = text.getvalue()
    return svg[svg.index("<svg") :]
