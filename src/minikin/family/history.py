"""What a member's provenance tells of its training, as the report says it."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from minikin.family.recipe import Recipe
from minikin.family.site import Site
from minikin.family.supply import source_names, sources_of
from minikin.measure.records import CurvePoint, Kept, Training


def training(site: Site, name: str) -> Training:
    """How a member was trained; sources go by short names, so that a report tells no machine's paths."""
    facts, names = site.store.provenance(name), _short_names(site.recipe)
    kept: dict[str, Any] | None = facts.get("kept")
    epochs: dict[str, float] = facts["epochs"]
    return Training(
        tokens=facts["tokens"],
        flops=facts["training_flops"],
        seconds=facts["seconds"],
        objective=", ".join(_told(facts)),
        curve=tuple(
            CurvePoint(tokens=point["tokens"], loss=point["loss"], held_out=point["held_out"])
            for point in facts["curve"]
        ),
        gap=facts["gap"],
        epochs={names.get(source, source): seen for source, seen in epochs.items()},
        kept=Kept(step=kept["step"], score=kept["score"]) if kept else None,
    )


def _told(facts: Mapping[str, Any]) -> Iterator[str]:
    if facts["parent"]:
        yield f"cut from {facts['parent']}"
    if facts["origin"]:
        origin = Path(facts["origin"])
        yield f"taken from {origin.name if origin.is_absolute() else origin}"
    if facts["teacher"]:
        yield f"distilled from {facts['teacher']}"
    elif facts["tokens"]:
        yield "next token"


def _short_names(recipe: Recipe) -> dict[str, str]:
    """What a mixture calls the sources of a task that has several, in short."""
    return {
        f"{task} {source}": f"{task} {short}"
        for task, data in sources_of(recipe.data).items()
        for source, short in source_names([weighed.source for weighed in data.train]).items()
    }
