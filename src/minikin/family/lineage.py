"""What a member was made from and how, as its provenance keeps it."""

from dataclasses import asdict
from typing import Any

from minikin import __version__
from minikin.base.device import device_name
from minikin.family.phases import teacher_of
from minikin.family.site import Site, data_key
from minikin.train.state import Reached


def provenance(site: Site, name: str, reached: Reached, fitted: dict[str, Any]) -> dict[str, Any]:
    """Of a trained member.

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
