"""The report as one HTML file: no script, no network, light and dark, wide and narrow."""

from importlib.resources import files

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from minikin.measure.differing import marked
from minikin.measure.metrics import metrics_of
from minikin.measure.overfitting import parted
from minikin.measure.plots import limits_plot, loss_curves, quality_against
from minikin.measure.records import By, FamilyReport, group_chance
from minikin.measure.retention import LEAST, comparable
from minikin.measure.sentences import KEPT_WIDER, least_kept, promise_sentence
from minikin.text.overlap import DOCUMENT, NEAR, SENTENCE

_SIGNS = {"kept": "✓", "missed": "✗", "undecided": "?"}
_SENTENCE_SCORES = {"translation": "chrF", "summarization": "ROUGE-1", "dialogue": "reply F1"}
_PARTS: dict[By, str] = {"length": "words in the input", "rarity": "rarest word seen", "complexity": "complexity"}


def page(report: FamilyReport) -> str:
    """The whole page."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(files("minikin.measure").joinpath("report.html").read_text(encoding="utf-8"))
    plots = {
        "Quality against memory": quality_against(report, "memory"),
        "Quality against compute": quality_against(report, "compute"),
        "Held-out loss while training": loss_curves(report),
    }
    return template.render(
        report=report,
        first=next(iter(report.members)),
        last=next(reversed(report.members)),
        plots=_drawn(plots),
        limits_plots=_drawn({f"Score by {title}": limits_plot(report, by) for by, title in _PARTS.items()}),
        signs=_SIGNS,
        sentence_scores=_SENTENCE_SCORES,
        parts=_PARTS,
        comparable=comparable,
        group_chance=group_chance,
        least_kept=least_kept,
        kept_wider=KEPT_WIDER,
        least=LEAST,
        marked=marked,
        main_metric=lambda task: metrics_of(task)[0].name,
        parted=parted,
        utilised=any(member.training.mfu is not None for member in report.members.values()),
        sentence=promise_sentence,
        near=NEAR,
        runs={"sentence": SENTENCE, "document": DOCUMENT},
    )


def _drawn(plots: dict[str, str]) -> dict[str, Markup]:
    """The plots that show anything, as they are: our own drawing, nobody's text."""
    return {title: Markup(svg) for title, svg in plots.items() if svg}
