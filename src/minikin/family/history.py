"""What a member's provenance tells of its training, as the report says it."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from minikin.family.naming import origin_name, source_names
from minikin.family.recipe import Recipe
from minikin.family.site import Site
from minikin.measure.records import CurvePoint, Kept, Training


def training(site: Site, name: str) -> Training:
    """How a member was trained; sources go by short names, so that a report tells no machine's paths."""
    facts, names = site.store.provenance(name), _short_names(site.recipe)
    phases = [facts["before"], facts] if "before" in facts else [facts]
    epochs = Counter[str]()
    for phase in phases:
        epochs.update(phase["epochs"])
    tokens, flops, seconds = (sum(phase[told] for phase in phases) for told in ("tokens", "training_flops", "seconds"))
    on_gpu = bool(tokens) and all(phase.get("device") for phase in phases)
    return Training(
        tokens=tokens,
        flops=round(flops),
        seconds=seconds,
        tokens_per_second=round(tokens / seconds, 1) if seconds else 0.0,
        mfu=flops / seconds / site.recipe.hardware.flops_per_second if on_gpu and seconds else None,
        objective=", ".join(_told(phases)),
        curve=tuple(_curve(phases)),
        gap=facts["gap"],
        epochs={names.get(source, source): seen for source, seen in epochs.items()},
        dropout=phases[0].get("dropout", 0.0),
        weight_decay=phases[0].get("weight_decay", 0.0),
        kept=Kept(**facts["kept"]) if "kept" in facts else None,
    )


def _curve(phases: Sequence[Mapping[str, Any]]) -> Iterator[CurvePoint]:
    """All phases' readings, one phase after the other."""
    before = 0
    for phase in phases:
        for point in phase["curve"]:
            yield CurvePoint(tokens=before + point["tokens"], loss=point["loss"], held_out=point["held_out"])
        before += phase["tokens"]


def _told(phases: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    facts = phases[0]
    if facts["parent"]:
        yield f"cut from {facts['parent']}"
    if facts["origin"]:
        yield f"taken from {origin_name(facts['origin'])}"
    if facts["teacher"]:
        yield f"distilled from {facts['teacher']}"
    elif facts["tokens"]:
        yield "next token"
    if len(phases) > 1:
        yield f"taught on its own answers by {phases[-1]['corrector']}"


def _short_names(recipe: Recipe) -> dict[str, str]:
    """What a mixture calls the sources of a task that has several, in short."""
    return {
        f"{task} {source}": f"{task} {short}"
        for task, data in recipe.data.tasks.items()
        for source, short in source_names([weighed.source for weighed in data.train]).items()
    }
