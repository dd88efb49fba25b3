"""What is written beside a member's weights: its provenance and its model card."""

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCardData

from minikin import __version__
from minikin.base.device import device_name
from minikin.base.files import write_text
from minikin.family.phases import teacher_of
from minikin.family.site import Site, data_key
from minikin.measure.records import MemberReport
from minikin.train.state import Reached

CARD = "README.md"
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


def provenance(site: Site, name: str, reached: Reached, fitted: dict[str, Any]) -> dict[str, Any]:
    """What a trained member was made from and how.

    `fitted` has its tokens, operations and epochs, and its held-out minus its training loss, a task.
    """
    return _lineage(site, name) | {
        "steps": reached.steps,
        "seconds": reached.seconds,
        "device": device_name(site.device),
        "curve": [asdict(point) for point in reached.curve],
        **fitted,
    }


def untrained_provenance(site: Site, name: str) -> dict[str, Any]:
    """The same of a member that is a checkpoint as it was, or its parent, cut."""
    nothing = {"steps": 0, "tokens": 0, "training_flops": 0, "seconds": 0.0, "epochs": {}, "gap": {}, "curve": []}
    return _lineage(site, name) | nothing


def card(site: Site, name: str, facts: dict[str, Any], report: MemberReport | None) -> str:
    """The model card, with the metadata that the hub reads, and scores once there is a report."""
    config = site.planned[name].config
    sections = {
        "Lineage": _told_lineage(site, facts),
        "Size": f"{config.parameters:,} parameters, of which {config.multiplied:,} are multiplied for a token and "
        f"{config.looked_up:,} are rows of per-layer tables, of which a token reads one; "
        f"{config.bytes_at(16) / 1e6:,.1f} MB at 16 bits, {config.flops_per_token():,} operations a token.\n",
        "Scores": _told_scores(report) if report else "",
        "Use": _USE,
    }
    told = "".join(f"\n## {title}\n\n{text}" for title, text in sections.items() if text)
    return f"---\n{_metadata(site, facts, name, report)}\n---\n\n# {site.recipe.name} {name}\n{told}\n{_OURS}\n"


def write_card(site: Site, name: str, report: MemberReport) -> None:
    """Put a member's scores on its card, unless somebody has made the card their own."""
    path = site.store.folder(name) / CARD
    if not path.is_file() or _OURS in path.read_text(encoding="utf-8"):
        write_text(path, card(site, name, site.store.provenance(name), report))


def _lineage(site: Site, name: str) -> dict[str, Any]:
    member = site.recipe.member[name]
    return {
        "stage": "member",
        "minikin": __version__,
        "recipe": site.recipe.name,
        "origin": member.origin,
        "parent": member.parent,
        "teacher": teacher_of(member) if member.distill else None,
        "data": data_key(site),
        "seed": site.recipe.seed,
    }


def _metadata(site: Site, facts: dict[str, Any], name: str, report: MemberReport | None) -> str:
    origin, told = site.recipe.origin, site.recipe.card
    on_hub = origin is not None and not Path(origin).is_dir()
    sources = [source for data in site.recipe.data.tasks.values() for source in data.train]
    hub_data = sorted({source.dataset for source in sources if source.dataset})
    results = list(_results(report)) if report else []
    return ModelCardData(
        language=told.languages or None,
        license=told.license,
        library_name="transformers",
        pipeline_tag="text-generation",
        tags=["minikin", "gemma4"],
        base_model=origin if on_hub else None,
        datasets=hub_data or None,
        model_name=f"{site.recipe.name} {name}" if results else None,
        eval_results=results or None,
    ).to_yaml()


def _results(report: MemberReport) -> Iterator[EvalResult]:
    for task, metrics in report.scores.items():
        for metric, score in metrics.items():
            yield EvalResult(
                task_type=task,
                dataset_type="held-out",
                dataset_name=f"the recipe's {task} test, n = {score.n}",
                metric_type=metric,
                metric_value=round(score.value, 2),
            )


def _told_lineage(site: Site, facts: dict[str, Any]) -> str:
    begun = f"Cut from `{facts['parent']}`" if facts["parent"] else "Begun with random weights"
    begun = f"Taken from `{facts['origin']}`" if facts["origin"] else begun
    if facts["teacher"]:
        begun += f" and distilled from `{facts['teacher']}`"
    phases = [facts["before"], facts] if "before" in facts else [facts]
    tokens, steps = (sum(phase[told] for phase in phases) for told in ("tokens", "steps"))
    learned = f", {tokens:,} tokens in {steps:,} steps" if tokens else ", as it was"
    if "corrector" in facts:
        learned += f", {facts['tokens']:,} of them its own answers and data, judged by `{facts['corrector']}`"
    sources = (
        f"- {task}: {', '.join(weighed.source for weighed in data.train)}"
        for task, data in site.recipe.data.tasks.items()
    )
    trained = "Trained on:\n\n" + "\n".join(sources) + "\n" if facts["tokens"] else ""
    return f"{begun}{learned}. Seed {facts['seed']}, minikin {facts['minikin']}.\n" + (
        "\n" + trained if trained else ""
    )


def _told_scores(report: MemberReport) -> str:
    rows = (
        f"| {task} | {metric} | {score.value:.1f} [{score.low:.1f}, {score.high:.1f}] | "
        f"{report.retention[task][metric].value:.1%} | {score.n} |"
        for task, metrics in report.scores.items()
        for metric, score in metrics.items()
    )
    head = "| task | metric | score, 95 % interval | of the first member's | n |\n| --- | --- | ---: | ---: | ---: |\n"
    return head + "\n".join(rows) + "\n"
