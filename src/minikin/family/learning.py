"""The part of a recipe that says how a member learns: from data, from a teacher, from its own answers, of few bits."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from minikin.family.fields import Count, Share, Strict, Whole
from minikin.text.mapping import Task


def _of_every_task(value: Any) -> Any:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return dict.fromkeys(TeacherAnswers.model_fields, value) if is_number else value


class TeacherAnswers(Strict):
    """How many training examples of a task the teacher answers anew, the first of each (Kim & Rush 2016)."""

    translation: Whole = Field(default=0, description="Translations.")
    summarization: Whole = Field(default=0, description="Summaries.")
    dialogue: Whole = Field(default=0, description="Last turns of dialogues.")

    def of(self, task: str) -> int:
        """For a task; none of plain text."""
        return getattr(self, task, 0)

    @property
    def any(self) -> bool:
        """Whether there are to be some."""
        return bool(self.translation or self.summarization or self.dialogue)


class Optimization(Strict):
    """Settings of one training: matrices are moved by Muon, all else by AdamW."""

    tokens: Count = Field(description="Training tokens, 2e6 for example.")
    batch_tokens: Count = Field(default=4096, description="Tokens in a step.")
    learning_rate: float = Field(default=0.01, gt=0, description="Peak of the schedule, of Muon and AdamW alike.")
    warmup: Share = Field(default=0.03, description="Share of the steps with a rising rate.")
    decay: Share = Field(default=0.5, description="Share of the steps with a falling rate.")
    weight_decay: Annotated[float, Field(ge=0)] | Literal["auto"] = Field(
        default="auto", description="For matrices; auto is 0.05, and more the more often data is seen again."
    )
    dropout: Share | Literal["auto"] = Field(
        default="auto", description="Dropout rate of what layers add; auto is more the more epochs there are."
    )
    candidates: int = Field(
        default=3, ge=0, description="Last looks whose weights, and their mean, compete by scores on held-back data."
    )
    clip_norm: float = Field(default=1.0, gt=0, description="Largest norm of a gradient.")


class Distillation(Optimization):
    """Learning from a larger member."""

    teacher: str | None = Field(default=None, description="Member to learn from; its parent if not set.")
    truth_share: Share = Field(default=0.2, description="Cross-entropy's share of the loss; the rest is forward KL.")
    temperature: float = Field(default=1.0, gt=0, description="Softens both distributions.")
    hidden_weight: float = Field(default=0.0, ge=0, description="Weight of the last hidden states' distance.")
    teacher_answers: Annotated[TeacherAnswers, BeforeValidator(_of_every_task)] = Field(
        default=TeacherAnswers(),
        description="Examples whose answers the teacher writes anew: as many of every task, or `{translation = 2000}`. "
        "Half of a task's rows are then of these, however few they are.",
    )
    shares: dict[Task, Annotated[float, Field(gt=0)]] = Field(
        default={},
        description="Shares of tasks in all that this member learns from, `{translation = 9}` for example, in place of "
        "those in data.TASK.share; tasks that are not named keep theirs.",
    )
    importance_samples: Count = Field(default=1024, description="Rows on which the cut's importance is measured.")


class OnPolicy(Optimization):
    """A last phase: the member answers by itself, and a teacher says what it thinks of every word."""

    teacher: str | None = Field(default=None, description="Member that judges; the one it was distilled from.")
    own_share: Share = Field(default=0.5, gt=0, description="Part of the rows that are its own answers.")


class Recovery(Optimization):
    """Learning with weights that are held on their grids, from the same member without."""

    learning_rate: float = Field(default=0.001, gt=0, description="Peak of the schedule, of Muon and AdamW alike.")


class Quantization(Strict):
    """How a member's weights are put on the grids of a kind of GGUF file."""

    samples: Count = Field(default=256, description="Training rows whose inputs to products decide the rounding.")
    distill: Recovery | None = Field(
        default=None, description="Then let the member teach itself on its grids (quantization-aware distillation)."
    )
