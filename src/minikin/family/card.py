"""The model card beside a member's weights."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCardData

from minikin.base.files import write_text
from minikin.family.naming import origin_name, source_names
from minikin.family.site import Site, quantized_name
from minikin.measure.records import FamilyReport, Interval, MemberReport, Precision
from minikin.measure.retention import TOO_CLOSE, comparable
from minikin.model.config import Config

CARD = "README.md"

Scores = dict[str, dict[str, Interval]]

_NOTHING = "–"  # in place of a share that would say nothing
_OURS = "<!-- Written by minikin, anew at every evaluation. Delete this line to keep what you change. -->"
_USE = """\
```python
from transformers import AutoModelForCausalLM, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained(".")
model = AutoModelForCausalLM.from_pretrained(".")
chat = [{"role": "user", "content": "Translate to German: …"}]
prompt = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_tensors="pt")
answer = model.generate(**prompt, max_new_tokens=64)[0, prompt["input_ids"].shape[1] :]
print(tokenizer.decode(answer, skip_special_tokens=True))
```
"""


@dataclass(frozen=True, kw_only=True)
class Scored:
    """What a card says of a member's answers; all are task → metric.

    `retention` is against `reference`, the scores of the member called `against`: none where it is the member itself.
    """

    scores: Scores
    retention: Scores
    against: str
    reference: Scores
    chance: Mapping[str, float]


def card(site: Site, name: str, facts: dict[str, Any], scored: Scored | None) -> str:
    """The model card, with the metadata that the hub reads, and scores once there are some.

    `name` is the member's; of one of few bits, `facts` tell the kind.
    """
    title = " ".join([site.recipe.name, name, *_kind(facts)])
    sections = {
        "Lineage": _told_lineage(site, name, facts),
        "Size": _told_size(site.planned[name].config, facts),
        "Scores": _told_scores(scored) if scored else "",
        "Use": _USE,
    }
    told = "".join(f"\n## {heading}\n\n{text}" for heading, text in sections.items() if text)
    return f"---\n{_metadata(site, facts, title, scored)}\n---\n\n# {title}\n{told}\n{_OURS}\n"


def write_cards(site: Site, report: FamilyReport) -> None:
    """Put scores on the cards of all members and of those of few bits, but not where somebody made one their own."""
    first = site.recipe.first
    for name, member in report.members.items():
        reference = report.members[first].scores if name != first else {}
        _write_card(site, name, name, _scored(member, first, reference, report.chance))
        for kind, few_bits in member.precisions.items():
            scored = _scored(few_bits, name, member.scores, report.chance)
            _write_card(site, name, quantized_name(name, kind), scored)


def _scored(found: MemberReport | Precision, against: str, reference: Scores, chance: Mapping[str, float]) -> Scored:
    return Scored(scores=found.scores, retention=found.retention, against=against, reference=reference, chance=chance)


def _write_card(site: Site, name: str, artifact: str, scored: Scored) -> None:
    path = site.store.folder(artifact) / CARD
    if not path.is_file() or _OURS in path.read_text(encoding="utf-8"):
        write_text(path, card(site, name, site.store.provenance(artifact), scored))


def _kind(facts: dict[str, Any]) -> list[str]:
    """The kind of a member of few bits; none of another."""
    return [facts["kind"]] if "kind" in facts else []


def _metadata(site: Site, facts: dict[str, Any], title: str, scored: Scored | None) -> str:
    origin, told = site.recipe.origin, site.recipe.card
    on_hub = origin is not None and not Path(origin).is_dir()
    sources = [source for data in site.recipe.data.tasks.values() for source in data.train]
    hub_data = sorted({source.dataset for source in sources if source.dataset})
    results = list(_results(scored)) if scored else []
    return ModelCardData(
        language=told.languages or None,
        license=told.license,
        library_name="transformers",
        pipeline_tag="text-generation",
        tags=["minikin", "gemma4", *_kind(facts)],
        base_model=origin if on_hub else None,
        datasets=hub_data or None,
        model_name=title if results else None,
        eval_results=results or None,
    ).to_yaml()


def _results(scored: Scored) -> Iterator[EvalResult]:
    for task, metrics in scored.scores.items():
        for metric, score in metrics.items():
            yield EvalResult(
                task_type=task,
                dataset_type="held-out",
                dataset_name=f"the recipe's {task} test, n = {score.n}",
                metric_type=metric,
                metric_value=round(score.value, 2),
            )


def _told_lineage(site: Site, name: str, facts: dict[str, Any]) -> str:
    begun = _told_rounding(name, facts) if _kind(facts) else _told_beginning(facts)
    phases = [facts["before"], facts] if "before" in facts else [facts]
    tokens, steps = (sum(phase[told] for phase in phases) for told in ("tokens", "steps"))
    learned = f", {tokens:,} tokens in {steps:,} steps" if tokens else ", as it was"
    if "corrector" in facts:
        learned += f", {facts['tokens']:,} of them its own answers and data, judged by `{facts['corrector']}`"
    trained = f"\nTrained on:\n\n{_told_sources(site)}" if facts["tokens"] else ""
    return f"{begun}{learned}. Seed {facts['seed']}, minikin {facts['minikin']}.\n{trained}"


def _told_beginning(facts: dict[str, Any]) -> str:
    begun = f"Cut from `{facts['parent']}`" if facts["parent"] else "Begun with random weights"
    begun = f"Taken from `{origin_name(facts['origin'])}`" if facts["origin"] else begun
    return f"{begun} and distilled from `{facts['teacher']}`" if facts["teacher"] else begun


def _told_rounding(name: str, facts: dict[str, Any]) -> str:
    taught = f" and distilled there from `{facts['teacher']}`" if facts["tokens"] else ""
    return f"`{name}` with its weights on the grids of a {facts['kind']} file{taught}"


def _told_sources(site: Site) -> str:
    """A line a task, its sources by the short names that the report has."""
    named = {
        task: source_names([weighed.source for weighed in data.train]) for task, data in site.recipe.data.tasks.items()
    }
    return "".join(f"- {task}: {', '.join(names.values())}\n" for task, names in named.items())


def _told_size(config: Config, facts: dict[str, Any]) -> str:
    told = (
        f"{config.parameters:,} parameters, of which {config.multiplied:,} are multiplied for a token and "
        f"{config.looked_up:,} are rows of per-layer tables, of which a token reads one; "
        f"{config.bytes_at(16) / 1e6:,.1f} MB at 16 bits, {config.flops_per_token():,} operations a token.\n"
    )
    for kind in _kind(facts):
        told += (
            f"Here each weight is stored in 32 bits, so that any program reads it; `minikin export gguf . --type "
            f"{kind}` writes the same weights in {facts['bytes'] / 1e6:,.2f} MB.\n"
        )
    return told


def _told_scores(scored: Scored) -> str:
    """A row a metric; no share of a score that is too close to chance."""
    titles = ["task", "metric", "score, 95 % interval", "n"]
    rows = [
        [task, metric, _interval(score), f"{score.n}"]
        for task, metrics in scored.scores.items()
        for metric, score in metrics.items()
    ]
    if not scored.reference:
        return _table(titles, rows)
    kept = [_told_share(scored, task, metric) for task, metrics in scored.scores.items() for metric in metrics]
    rows = [[*row[:3], share, *row[3:]] for row, share in zip(rows, kept, strict=True)]
    note = f"\n{_NOTHING}: the score of `{scored.against}` {TOO_CLOSE}.\n" if _NOTHING in kept else ""
    return _table([*titles[:3], f"keeps of `{scored.against}`", *titles[3:]], rows) + note


def _told_share(scored: Scored, task: str, metric: str) -> str:
    if not comparable(scored.reference[task][metric], scored.chance[metric]):
        return _NOTHING
    kept = scored.retention[task][metric]
    return f"{100 * kept.value:.1f} % [{100 * kept.low:.1f}, {100 * kept.high:.1f}]"


def _interval(score: Interval) -> str:
    return f"{score.value:.1f} [{score.low:.1f}, {score.high:.1f}]"


def _table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """In Markdown: two columns of words, then figures."""
    ruled = ["---", "---", *["---:"] * (len(titles) - 2)]
    return "".join(f"| {' | '.join(row)} |\n" for row in (titles, ruled, *rows))
