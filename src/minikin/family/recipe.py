"""The recipe: everything a family is built from, with every field's meaning, bounds and default.

The descriptions here are the recipe reference in `docs/recipe.md`.
"""

import re
from typing import Literal

from pydantic import Field, model_validator

from minikin.base.device import Compiling, DeviceName
from minikin.family.corpora import Corpora
from minikin.family.decodings import Decodings
from minikin.family.fields import MAX_POSITIONS, Count, Ratio, Share, Strict
from minikin.family.learning import Distillation, OnPolicy, Optimization, Quantization
from minikin.model.decoding import Decoding

# folders of a family that are no members
_RESERVED = ("answers", "data", "distilled", "evaluations", "overlap", "quantized", "written")

Kind = Literal["q8_0", "q4_0"]  # of GGUF files


class Vocabulary(Strict):
    """The tokenizer that all members share."""

    vocab_size: Count = Field(
        default=4096, multiple_of=8, le=1 << 20, description="Entries, 6 special and 256 byte tokens included."
    )


class Shape(Strict):
    """A shape, given. Names are Transformers'."""

    hidden_size: Count = Field(description="Width of the residual stream.")
    num_hidden_layers: Count = Field(description="Decoder layers.")
    intermediate_size: Count = Field(description="Width of the feed-forward.")
    num_attention_heads: Count = Field(description="Query heads.")
    num_key_value_heads: Count = Field(description="Key/value heads; divides the query heads.")
    head_dim: Count = Field(description="Width of a head, a multiple of 8.")
    hidden_size_per_layer_input: int = Field(description="Width of each layer's token table; 0 for none.", ge=0)
    sliding_window: Count | None = Field(
        default=None, description="Tokens that a sliding layer sees; 512, or as in the member above."
    )
    sliding_per_full: int | None = Field(
        default=None, ge=0, description="Sliding layers before each full one; 2, or as in the member above."
    )
    num_kv_shared_layers: int | None = Field(
        default=None,
        ge=0,
        description="Last layers that see an earlier one's keys and values; none, or as in the member above.",
    )


class Promise(Strict):
    """What a member promises to keep and to cost, relative to the family's first member."""

    translation: Ratio | None = Field(default=None, description="Least share of the translation scores.")
    summarization: Ratio | None = Field(default=None, description="Least share of the summarization scores.")
    dialogue: Ratio | None = Field(default=None, description="Least share of the dialogue scores.")
    memory: Ratio | None = Field(default=None, description="Largest share of the bytes.")
    compute: Ratio | None = Field(default=None, description="Largest share of the operations a token.")


class Published(Strict):
    """Figures that a publication gives for a member, to hold the plan against; each to two significant digits."""

    parameters: float | None = Field(default=None, gt=0, description="All weights.")
    hidden_size: Count | None = Field(default=None, description="Embedding size, which is the hidden size.")
    num_hidden_layers: Count | None = Field(default=None, description="Layers.")
    memory: Ratio | None = Field(default=None, description="Largest share of the first member's bytes.")
    compute: Ratio | None = Field(default=None, description="Largest share of its operations a token.")


class Hardware(Strict):
    """What a plan's training time is estimated for."""

    name: str = Field(default="H100 SXM, dense bfloat16", description="Name that the plan shows.")
    flops_per_second: float = Field(default=989e12, gt=0, description="Peak operations a second.")
    utilisation: Share = Field(default=0.4, gt=0, description="Part of the peak that training reaches.")


class Card(Strict):
    """What model cards say beyond what is known of a member."""

    license: str | None = Field(default=None, description="Its identifier, apache-2.0 for example.")
    languages: list[str] = Field(default=[], description="Codes of the members' languages: en, de.")


class Member(Strict):
    """One model: a shape, budgets or a checkpoint that there is already, and how it is trained."""

    origin: str | None = Field(
        default=None,
        alias="from",
        min_length=1,
        description="A Gemma 4 text checkpoint that the first member is: a folder, or its name on the hub.",
    )
    shape: Shape | None = Field(default=None, description="The shape, if no budget is given.")
    parent: str | None = Field(default=None, description="Member that it is cut from.")
    of: str | None = Field(default=None, description="Member that budgets refer to; the first if not set.")
    compute: Ratio | None = Field(default=None, description="Budget: operations a token, as a share.")
    memory: Ratio | None = Field(default=None, description="Budget: bytes, as a share.")
    train: Optimization | None = Field(default=None, description="Learn the data itself.")
    distill: Distillation | None = Field(default=None, description="Learn the data through a teacher.")
    on_policy: OnPolicy | None = Field(
        default=None, description="Then learn from its own answers, judged by a teacher."
    )
    promise: Promise = Field(default=Promise(), description="What is checked in the report.")
    published: Published = Field(default=Published(), description="What the plan is held against.")

    @model_validator(mode="after")
    def _one_of_each(self) -> "Member":
        budgets = self.compute is not None or self.memory is not None
        if self.origin is not None and (self.shape or budgets or self.parent or self.distill):
            clashing = [name for name in ("shape", "compute", "memory", "parent", "distill") if getattr(self, name)]
            raise ValueError(
                f"from and {', '.join(clashing)}: a checkpoint brings shape and weights, it can only be trained on"
            )
        if self.origin is None and (self.shape is None) != budgets:
            raise ValueError("give either a shape or budgets (compute, memory)")
        if self.train and self.distill:
            raise ValueError("give either train or distill")
        if self.origin is None and self.parent is None and self.train is None:
            raise ValueError("give train, or a parent to be cut from")
        if self.on_policy is not None and not (self.distill or self.on_policy.teacher):
            raise ValueError("on_policy needs a teacher to judge answers; name it, or distill first")
        if self.distill is not None and self.parent is None:
            raise ValueError("distill needs a parent to be cut from")
        if self.distill is not None and self.distill.hidden_weight and self.distill.teacher not in (None, self.parent):
            raise ValueError("distill.hidden_weight: hidden states can only be compared with the parent's as teacher")
        return self


class Measure(Strict):
    """How members are examined."""

    max_examples: Count = Field(default=400, description="Test examples a task and source, the first ones.")
    max_new_tokens: Count = Field(default=64, le=MAX_POSITIONS // 2, description="Longest answer.")
    resamples: Count = Field(default=1000, description="Bootstrap resamples of every interval.")
    batch: Count = Field(default=64, description="Prompts decoded together.")
    decoding: Decodings = Field(default=Decodings(), description="How answers are written, by task.")

    def decoding_of(self, task: str) -> Decoding:
        """How answers of a task are written; plain text has none."""
        return getattr(self.decoding, task).settings(self.max_new_tokens)


class Recipe(Strict):
    """A family, from data to promises."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]*$", description="Names the folder of the results.")
    seed: int = Field(default=1, ge=0, description="All chance follows from it.")
    threads: int = Field(default=0, ge=0, description="Threads to compute with; 0 for all cores.")
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        default="auto", description="Matrix products while training; auto is bfloat16 where the device has it."
    )
    device: DeviceName = Field(
        default="auto", description="Where members are trained and examined; auto is a CUDA device if there is one."
    )
    compile: Compiling = Field(
        default="auto", description="Whether training passes are compiled; auto does on CUDA, where it gains."
    )
    checkpoint_seconds: float = Field(default=60.0, ge=0, description="Save a training's state this often.")
    data: Corpora = Field(description="What is learned from, and examined on.")
    tokenizer: Vocabulary | None = Field(default=None, description="A checkpoint's own, if the first member is one.")
    member: dict[str, Member] = Field(min_length=1, description="Members by name, parents before children.")
    quantize: dict[Kind, Quantization] = Field(
        default={"q8_0": Quantization(), "q4_0": Quantization()},
        description="Kinds of GGUF files that every member is made and examined in; `quantize = {}` for none.",
    )
    measure: Measure = Field(default=Measure(), description="How members are examined.")
    hardware: Hardware = Field(default=Hardware(), description="What a plan's training time is estimated for.")
    card: Card = Field(default=Card(), description="What model cards say beside what is known.")

    @property
    def vocabulary(self) -> Vocabulary:
        """What the tokenizer is trained to be, unless it comes with a checkpoint."""
        return self.tokenizer or Vocabulary()

    @property
    def origin(self) -> str | None:
        """The checkpoint that the family begins with, if it does."""
        return self.member[self.first].origin

    @property
    def first(self) -> str:
        """The member that all others are measured against."""
        return next(iter(self.member))

    @model_validator(mode="after")
    def _shares_are_of_tasks(self) -> "Recipe":
        there = self.data.tasks
        for name, member in self.member.items():
            for task in member.distill.shares if member.distill else ():
                if task not in there:
                    raise ValueError(f"member.{name}.distill.shares: no data.{task}; there is {', '.join(there)}")
        return self

    @model_validator(mode="after")
    def _members_exist(self) -> "Recipe":
        known: list[str] = []
        for name, member in self.member.items():
            if not re.fullmatch(r"[a-z0-9][a-z0-9_-]*", name) or name in _RESERVED:
                raise ValueError(
                    f"member.{name}: a name has small letters, digits, - and _, and is none of {_RESERVED}"
                )
            teacher = member.distill.teacher if member.distill else None
            judge = member.on_policy.teacher if member.on_policy else None
            named = {"parent": member.parent, "of": member.of, "distill.teacher": teacher, "on_policy.teacher": judge}
            for field, other in named.items():
                if other is not None and other not in known:
                    said = f"before it come: {', '.join(known)}" if known else "no member comes before it"
                    raise ValueError(f"member.{name}.{field}: no member {other!r} comes before {name!r}; {said}")
            for task in ("translation", "summarization", "dialogue"):
                if getattr(member.promise, task) is not None and task not in self.data.examined:
                    raise ValueError(
                        f"member.{name}.promise.{task}: no test says whether it is kept; give data.{task}.test"
                    )
            if member.shape is None and member.origin is None and not known:
                raise ValueError(f"member.{name}: the first member needs a shape; a budget refers to another member")
            if member.origin is not None and known:
                raise ValueError(f"member.{name}.from: only the first member, {known[0]!r}, can be a checkpoint")
            if member.origin is not None and self.tokenizer:
                raise ValueError(f"tokenizer: the checkpoint of member.{name} brings its own; leave this table out")
            known.append(name)
        return self
