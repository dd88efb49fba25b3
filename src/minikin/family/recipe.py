"""The recipe: everything a family is built from, with every field's meaning, bounds and default.

The descriptions here are the recipe reference in `docs/recipe.md`.
"""

import re
from fractions import Fraction
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

MAX_POSITIONS = 2048  # the context of every member, in tokens

_RESERVED = ("answers", "data", "held_out", "written")  # folders of a family that are no members


def _ratio(value: Any) -> Any:
    if isinstance(value, str) and re.fullmatch(r"\s*\d+\s*/\s*[1-9]\d*\s*", value):
        return float(Fraction(value.replace(" ", "")))
    return value


def _whole(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _weighed(value: Any) -> Any:
    return {"source": value} if isinstance(value, str) else value


def _source(value: str) -> str:
    if value.partition(":")[0] == "village" and not re.fullmatch(r"village:[1-9]\d*", value):
        raise ValueError("expected village:COUNT such as village:10000")
    return value


Ratio = Annotated[float, BeforeValidator(_ratio), Field(gt=0, le=1)]
Count = Annotated[int, BeforeValidator(_whole), Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Source = Annotated[str, AfterValidator(_source)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class WeighedSource(_Strict):
    """A source to learn from; its name alone means a weight of 1."""

    source: Source = Field(description="`village:COUNT`, `hub:OWNER/NAME` or a file.")
    weight: float = Field(default=1.0, gt=0, description="How often it is seen for its size, against other sources.")


class Data(_Strict):
    """Sources of one task: `village:COUNT`, `hub:OWNER/NAME`, or a .jsonl, .jsonl.gz or .parquet file."""

    share: float = Field(default=1.0, gt=0, description="Part of the training rows, relative to other tasks.")
    train: list[Annotated[WeighedSource, BeforeValidator(_weighed)]] = Field(
        min_length=1, description="Sources to learn from: names, or `{source = NAME, weight = 2}`."
    )
    test: list[Source] = Field(default=[], description="Held-out sources to measure on; never trained on.")
    select: list[Source] = Field(
        default=[],
        description="Held-out response selection, dialogue only; answers are then scored on it, not on test.",
    )
    both_directions: bool = Field(default=False, description="Learn and test every translation both ways.")

    @model_validator(mode="after")
    def _test_is_not_trained_on(self) -> "Data":
        for weighed in self.train:
            # the village keeps its test meanings apart by itself; of a hub dataset the split is taken
            if weighed.source in (*self.test, *self.select) and not weighed.source.startswith(("village:", "hub:")):
                raise ValueError(f"{weighed.source} is both trained on and tested on")
        return self


class Corpora(_Strict):
    """The data of all tasks."""

    root: str = Field(default=".", description="Folder that relative file names start from.")
    sequence_length: Count = Field(
        default=256, le=MAX_POSITIONS, description="Tokens in a packed row; longer documents are cut."
    )
    prompt_weight: Share = Field(default=0.1, description="What a token that is not the answer counts in the loss.")
    tokenizer_examples: Count = Field(default=20_000, description="Training examples a task that the tokenizer sees.")
    translation: Data | None = None
    summarization: Data | None = None
    dialogue: Data | None = None
    text: Data | None = None

    @model_validator(mode="after")
    def _something_is_examined(self) -> "Corpora":
        for task in ("translation", "summarization", "text"):
            if (data := getattr(self, task)) and data.select:
                raise ValueError(f"{task}.select: response selection is for dialogue")
        if not self.examined:
            raise ValueError("no task has a test; give translation.test, summarization.test or dialogue.test")
        return self

    @property
    def examined(self) -> tuple[str, ...]:
        """The tasks that members are scored on."""
        tasks = {name: getattr(self, name) for name in ("translation", "summarization", "dialogue")}
        return tuple(name for name, data in tasks.items() if data and (data.test or data.select))


class Vocabulary(_Strict):
    """The tokenizer that all members share."""

    vocab_size: Count = Field(
        default=4096, multiple_of=8, description="Entries, 6 special and 256 byte tokens included."
    )


class Shape(_Strict):
    """A shape, given. Names are Transformers'."""

    hidden_size: Count = Field(description="Width of the residual stream.")
    num_hidden_layers: Count = Field(description="Decoder layers.")
    intermediate_size: Count = Field(description="Width of the feed-forward.")
    num_attention_heads: Count = Field(description="Query heads.")
    num_key_value_heads: Count = Field(description="Key/value heads; divides the query heads.")
    head_dim: Count = Field(description="Width of a head, a multiple of 8.")
    hidden_size_per_layer_input: int = Field(description="Width of each layer's token table; 0 for none.", ge=0)
    sliding_window: Count = Field(default=512, description="Tokens that a sliding layer sees.")
    sliding_per_full: int = Field(default=2, description="Sliding layers before each full one.", ge=0)


class Optimization(_Strict):
    """How a member's weights are moved, whatever is minimised."""

    tokens: Count = Field(description="Training tokens, 2e6 for example.")
    batch_tokens: Count = Field(default=4096, description="Tokens in a step.")
    learning_rate: float = Field(default=0.01, gt=0, description="Peak of the schedule.")
    warmup: Share = Field(default=0.03, description="Share of the steps with a rising rate.")
    decay: Share = Field(default=0.5, description="Share of the steps with a falling rate.")
    weight_decay: float = Field(default=0.05, ge=0, description="For matrices.")
    clip_norm: float = Field(default=1.0, gt=0, description="Largest norm of a gradient.")


class Distillation(Optimization):
    """Learning from a larger member."""

    teacher: str | None = Field(default=None, description="Member to learn from; its parent if not said.")
    truth_share: Share = Field(default=0.2, description="Cross-entropy's share of the loss; the rest is forward KL.")
    temperature: float = Field(default=1.0, gt=0, description="Softens both distributions.")
    hidden_weight: float = Field(default=0.0, ge=0, description="Weight of the last hidden states' distance.")
    teacher_answers: int = Field(default=0, ge=0, description="Examples a task whose answers the teacher writes anew.")
    importance_samples: Count = Field(default=1024, description="Rows on which the cut's importance is measured.")


class Promise(_Strict):
    """What a member promises to keep and to cost, relative to the family's first member."""

    translation: Ratio | None = Field(default=None, description="Least share of the translation scores.")
    summarization: Ratio | None = Field(default=None, description="Least share of the summarization scores.")
    dialogue: Ratio | None = Field(default=None, description="Least share of the dialogue scores.")
    memory: Ratio | None = Field(default=None, description="Largest share of the bytes.")
    compute: Ratio | None = Field(default=None, description="Largest share of the operations a token.")


class Member(_Strict):
    """One model: a shape or budgets, and how it is trained."""

    shape: Shape | None = Field(default=None, description="The shape, if no budget is given.")
    parent: str | None = Field(default=None, description="Member that it is cut from.")
    of: str | None = Field(default=None, description="Member that budgets refer to; the first if not said.")
    compute: Ratio | None = Field(default=None, description="Budget: operations a token, as a share.")
    memory: Ratio | None = Field(default=None, description="Budget: bytes, as a share.")
    train: Optimization | None = Field(default=None, description="Learn the data itself.")
    distill: Distillation | None = Field(default=None, description="Learn the data through a teacher.")
    promise: Promise = Field(default=Promise(), description="What is checked in the report.")

    @model_validator(mode="after")
    def _one_of_each(self) -> "Member":
        if (self.shape is None) == (self.compute is None and self.memory is None):
            raise ValueError("give either a shape or budgets (compute, memory)")
        if (self.train is None) == (self.distill is None):
            raise ValueError("give either train or distill")
        if self.distill is not None and self.parent is None:
            raise ValueError("distill needs a parent to be cut from")
        if self.distill is not None and self.distill.hidden_weight and self.distill.teacher not in (None, self.parent):
            raise ValueError("distill.hidden_weight: hidden states can only be compared with the parent's as teacher")
        return self


class Measure(_Strict):
    """How members are examined."""

    max_examples: Count = Field(default=400, description="Test examples a task and source, the first ones.")
    max_new_tokens: Count = Field(default=64, le=MAX_POSITIONS // 2, description="Longest answer.")
    resamples: Count = Field(default=1000, description="Bootstrap resamples of every interval.")
    batch: Count = Field(default=64, description="Prompts decoded together.")


class Recipe(_Strict):
    """A family, from data to promises."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]*$", description="Names the folder of the results.")
    seed: int = Field(default=1, ge=0, description="All chance follows from it.")
    threads: int = Field(default=0, ge=0, description="Threads to compute with; 0 for all cores.")
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        default="auto", description="Matrix products while training; auto is bfloat16 where the processor has it."
    )
    checkpoint_seconds: float = Field(default=60.0, ge=0, description="Save a training's state this often.")
    data: Corpora
    tokenizer: Vocabulary = Vocabulary()
    member: dict[str, Member] = Field(min_length=1, description="Members by name, parents before children.")
    measure: Measure = Measure()

    @property
    def first(self) -> str:
        """The member that all others are measured against."""
        return next(iter(self.member))

    @model_validator(mode="after")
    def _members_exist(self) -> "Recipe":
        known: list[str] = []
        for name, member in self.member.items():
            if not re.fullmatch(r"[a-z0-9][a-z0-9_-]*", name) or name in _RESERVED:
                raise ValueError(
                    f"member.{name}: a name has small letters, digits, - and _, and is none of {_RESERVED}"
                )
            teacher = member.distill.teacher if member.distill else None
            for field, other in (("parent", member.parent), ("of", member.of), ("distill.teacher", teacher)):
                if other is not None and other not in known:
                    said = f"before it come: {', '.join(known)}" if known else "no member comes before it"
                    raise ValueError(f"member.{name}.{field}: no member {other!r} comes before {name!r}; {said}")
            for task in ("translation", "summarization", "dialogue"):
                if getattr(member.promise, task) is not None and task not in self.data.examined:
                    raise ValueError(
                        f"member.{name}.promise.{task}: no test says whether it is kept; give data.{task}.test"
                    )
            if member.shape is None and not known:
                raise ValueError(f"member.{name}: the first member needs a shape; a budget refers to another member")
            known.append(name)
        return self
