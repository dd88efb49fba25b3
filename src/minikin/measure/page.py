"""The report as one HTML file: no script, no network, light and dark, wide and narrow."""

from importlib.resources import files

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from minikin.measure.plots import limits_plot, loss_curves, quality_against
from minikin.measure.records import FamilyReport, Verdicted
from minikin.text.overlap import DOCUMENT, NEAR, SENTENCE

_SIGNS = {"kept": "✓", "missed": "✗", "undecided": "?"}


def page(report: FamilyReport) -> str:
    """The whole page."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(files("minikin.measure").joinpath("report.html").read_text(encoding="utf-8"))
    plots = {
        "Quality against memory": quality_against(report, "memory"),
        "Quality against compute": quality_against(report, "compute"),
        "Held-out loss while training": loss_curves(report),
        "By length of the input": limits_plot(report, "length"),
        "By rarity of words": limits_plot(report, "rarity"),
    }
    return template.render(
        report=report,
        first=next(iter(report.members)),
        plots={title: Markup(svg) for title, svg in plots.items() if svg},  # our own drawing, nobody's text
        signs=_SIGNS,
        sentence=promise_sentence,
        near=NEAR,
        runs={"sentence": SENTENCE, "document": DOCUMENT},
    )


def promise_sentence(member: str, first: str, promise: Verdicted) -> str:
    """One honest sentence: what was promised, what is measured, what follows."""
    if promise.name in ("memory", "compute"):
        return (
            f"{member} takes {promise.value:.1%} of {first}'s {promise.name}; "
            f"promised at most {promise.target:.0%}: {promise.verdict}"
        )
    return (
        f"{member} keeps {promise.value:.1%} ({promise.low:.1%} to {promise.high:.1%}) of {first} on {promise.name}; "
        f"promised {promise.target:.0%}: {promise.verdict}"
    )
