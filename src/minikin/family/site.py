"""Where a family is built, and the key of everything that is built there.

A key is the digest of all that an artifact depends on: the part of the recipe, the keys of its inputs, the
stage's version. What else a stage is given only tells where things are.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

import torch

from minikin.base.device import device_of
from minikin.base.files import digest
from minikin.base.log import Log
from minikin.family.corpora import NamedSource
from minikin.family.exams import Exam, own_exams
from minikin.family.origin import origin_key
from minikin.family.phases import corrector_of, teacher_of
from minikin.family.plan import PlannedMember
from minikin.family.recipe import Kind, Member, Recipe
from minikin.family.store import Store
from minikin.family.supply import fingerprint
from minikin.model.decoder import skeleton
from minikin.model.huggingface import stored_name
from minikin.ship.types import stored_type

_VERSION = "7"  # raise it when a stage begins to mean something else
_ANSWERS = "4"  # the same of the answers alone: members need not be trained again
_WRITTEN = "2"  # what teachers write is taken otherwise than before
_OVERLAP = "2"  # texts are compared otherwise than before


@dataclass(frozen=True, kw_only=True)
class Brought:
    """Exams that are not the recipe's: where their answers go, and the keys of what is there, taken as it is.

    `keys` has those of the data, of the members and of the members of few bits, by their artifacts' names.
    """

    exams: tuple[Exam, ...]
    store: Store
    keys: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Site:
    """Where a family is built: its recipe, the planned shapes, the store and the log."""

    recipe: Recipe
    planned: dict[str, PlannedMember]
    store: Store
    log: Log
    brought: Brought | None = None
    _known: dict[str, str] = field(default_factory=dict[str, str], init=False)

    @cached_property
    def device(self) -> torch.device:
        """Where members are trained and examined: no part of any key, for it changes no more than the order of sums."""
        return device_of(self.recipe.device)

    @property
    def exams(self) -> tuple[Exam, ...]:
        """What members are examined on."""
        return self.brought.exams if self.brought else own_exams(self.recipe)

    @property
    def results(self) -> Store:
        """Where answers and the report go."""
        return self.brought.store if self.brought else self.store

    @cached_property
    def origin(self) -> str:
        """What the checkpoint that the family begins with is known by; nothing if there is none."""
        return origin_key(self.recipe.origin) if self.recipe.origin else ""

    def fingerprint(self, source: NamedSource) -> str:
        """Of a source, taken once: what a build began with is what its artifacts are known by."""
        name = source.model_dump_json()
        if name not in self._known:
            self._known[name] = fingerprint(self.recipe, source)
        return self._known[name]

    def take_fingerprints(self) -> None:
        """Of all sources of the recipe, before anything is made of them; raises DataError if one is missing."""
        for data in self.recipe.data.tasks.values():
            for source in (*data.train, *data.test, *data.select):
                self.fingerprint(source)


def data_key(site: Site) -> str:
    """Key of tokenizer, training corpora and what is held back of them."""
    if site.brought:
        return site.brought.keys["data"]
    recipe = site.recipe
    told = {
        task: [
            (data.both_directions, data.every_speaker, data.share),
            *map(site.fingerprint, data.train),
        ]
        for task, data in recipe.data.tasks.items()
    }
    size = str(recipe.data.tokenizer_characters)
    return digest(_VERSION, str(recipe.seed), json.dumps(told), size, recipe.vocabulary.model_dump_json(), site.origin)


def member_key(site: Site, name: str) -> str:
    """Key of a member: of its training, and of what it learned from its own answers, if it did."""
    member, distilled = site.recipe.member[name], distilled_key(site, name)
    if member.on_policy is None:
        return distilled
    told = [member.on_policy.model_dump_json(), str(site.recipe.measure.max_new_tokens)]
    return digest(_VERSION, distilled, *told, member_key(site, corrector_of(member)))


def distilled_name(name: str) -> str:
    """Where a member lies before it learns from its own answers."""
    return f"distilled/{name}"


def distilled_key(site: Site, name: str) -> str:
    """Key of a training: its data, shape, optimization, parent and teacher."""
    recipe, member = site.recipe, site.recipe.member[name]
    proportions = {
        task: (
            (data.share, data.prompt_weight, data.reply_weight, data.block_length),
            *(weighed.weight for weighed in data.train),
        )
        for task, data in recipe.data.tasks.items()
    }
    told = {
        "shape": asdict(site.planned[name].config),
        "training": _training(member),
        "proportions": proportions,
        "rows": (recipe.data.sequence_length, recipe.data.prompt_weight),
        "precision": recipe.precision,
    }
    above = [member_key(site, other) for other in _above(member)]
    if member.distill is not None and member.distill.teacher_answers.any:
        above.append(written_key(site, name))
    return digest(_VERSION, data_key(site), name, json.dumps(told), *above)


def quantized_name(name: str, kind: str) -> str:
    """Where a member of few bits lies."""
    return f"quantized/{name}/{kind}"


def quantized_key(site: Site, name: str, kind: Kind) -> str:
    """Key of a member in a kind: the member's, the type of every weight, and how weights are brought there."""
    held = skeleton(site.planned[name].config).state_dict().items()
    types = [stored_type(stored_name(weight), tensor.shape, kind).name for weight, tensor in held]
    how = site.recipe.quantize[kind].model_dump_json()
    return digest(_VERSION, member_key(site, name), kind, *types, how)


def answers_key(site: Site, name: str, kind: Kind | None = None) -> str:
    """Key of a member's answers to the test, or of those in a kind of few bits."""
    measure = site.recipe.measure
    told = {exam.name: [exam.kind, exam.both_directions, *map(site.fingerprint, exam.sources)] for exam in site.exams}
    if site.brought:
        member = site.brought.keys[quantized_name(name, kind) if kind else name]
    else:
        member = quantized_key(site, name, kind) if kind else member_key(site, name)
    asked = [exam.task for exam in site.exams if exam.sources and exam.task != "text"]
    limits = (measure.max_examples, measure.batch, {task: asdict(measure.decoding_of(task)) for task in asked})
    chosen = (site.recipe.seed, site.recipe.data.replies_told_apart)
    return digest(_VERSION, _ANSWERS, member, json.dumps(told), json.dumps(limits), json.dumps(chosen))


def overlap_key(site: Site) -> str:
    """Key of the comparison of training data with what members are examined on; raises DataError if some is missing."""
    data, exams = site.recipe.data, site.exams
    trained = [site.fingerprint(source) for task in data.tasks.values() for source in task.train]
    asked = [[exam.kind, *map(site.fingerprint, exam.sources)] for exam in exams]
    limits = (site.recipe.seed, site.recipe.measure.max_examples)
    return digest(_VERSION, _OVERLAP, json.dumps(trained), json.dumps(asked), json.dumps(limits))


def written_key(site: Site, name: str) -> str:
    """Key of what a member's teacher wrote for it."""
    member, measure = site.recipe.member[name], site.recipe.measure
    assert member.distill is not None
    tasks = [task for task in site.recipe.data.tasks if task != "text"]
    written = {task: asdict(measure.decoding_of(task)) for task in tasks}
    limits = (member.distill.teacher_answers.model_dump(), measure.batch, written)
    return digest(_VERSION, _WRITTEN, member_key(site, teacher_of(member)), json.dumps(limits))


def written_name(site: Site, name: str) -> str:
    """Where what a member's teacher wrote lies: once for all members that learn from the same answers."""
    key, members = written_key(site, name), site.recipe.member
    learners = (other for other, member in members.items() if member.distill and member.distill.teacher_answers.any)
    return f"written/{next(other for other in learners if written_key(site, other) == key)}"


def _training(member: Member) -> dict[str, Any]:
    told = member.model_dump(mode="json", include={"train", "distill", "parent"})
    if member.distill and not member.distill.shares:  # members that were trained before there were any stay as they are
        del told["distill"]["shares"]
    return told


def _above(member: Member) -> list[str]:
    teacher = teacher_of(member) if member.distill else None
    return sorted({other for other in (member.parent, teacher) if other})
