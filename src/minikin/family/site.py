"""Where a family is built, and the key of everything that is built there.

A key is the digest of all that an artifact depends on: the part of the recipe, the keys of its inputs, the
stage's version. What else a stage is given only tells where things are.
"""

import json
from dataclasses import asdict, dataclass
from typing import Any

from minikin.base.files import digest
from minikin.base.log import Log
from minikin.family.plan import PlannedMember
from minikin.family.recipe import Member, Recipe
from minikin.family.store import Store
from minikin.family.supply import fingerprint, sources_of

_VERSION = "3"  # raise it when a stage begins to mean something else


@dataclass(frozen=True, kw_only=True)
class Site:
    """Where a family is built: its recipe, the planned shapes, the store and the log."""

    recipe: Recipe
    planned: dict[str, PlannedMember]
    store: Store
    log: Log


def data_key(site: Site) -> str:
    """Key of tokenizer and corpora."""
    recipe = site.recipe
    tasks = sources_of(recipe.data)
    prints = [
        fingerprint(recipe, source)
        for data in tasks.values()
        for source in (*(weighed.source for weighed in data.train), *data.test, *data.select)
    ]
    # how often rows are seen is the members' affair
    proportions: Any = {task: {"share": True, "train": {"__all__": {"weight"}}} for task in tasks}
    shape = recipe.data.model_dump_json(exclude={"root": True, "prompt_weight": True, **proportions})
    return digest(_VERSION, str(recipe.seed), shape, recipe.tokenizer.model_dump_json(), *prints)


def member_key(site: Site, name: str) -> str:
    """Key of a trained member: its data, shape, training, parent and teacher."""
    member = site.recipe.member[name]
    training = member.model_dump_json(include={"train", "distill", "parent"})
    shares = json.dumps(
        {
            task: (data.share, *(weighed.weight for weighed in data.train))
            for task, data in sources_of(site.recipe.data).items()
        }
    )
    above = [member_key(site, other) for other in _above(member)]
    shape = json.dumps(asdict(site.planned[name].config))
    weight, precision = str(site.recipe.data.prompt_weight), site.recipe.precision
    return digest(_VERSION, data_key(site), shape, training, shares, weight, precision, name, *above)


def answers_key(site: Site, name: str) -> str:
    """Key of a member's answers to the test."""
    measure = site.recipe.measure
    return digest(_VERSION, member_key(site, name), str(measure.max_examples), str(measure.max_new_tokens))


def written_key(site: Site, name: str) -> str:
    """Key of what a member's teacher wrote for it."""
    distill = site.recipe.member[name].distill
    assert distill is not None
    return digest(
        _VERSION,
        member_key(site, teacher_of(site.recipe.member[name])),
        str(distill.teacher_answers),
        str(site.recipe.measure.max_new_tokens),
    )


def teacher_of(member: Member) -> str:
    """The member that a distilled one learns from."""
    assert member.distill is not None
    return member.distill.teacher or member.parent or ""


def _above(member: Member) -> list[str]:
    teacher = teacher_of(member) if member.distill else None
    return sorted({other for other in (member.parent, teacher) if other})
