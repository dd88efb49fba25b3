"""The part of a recipe that says what is learned from and what members are examined on."""

from typing import Annotated, Any

from pydantic import BeforeValidator, Field, model_validator

from minikin.family.fields import MAX_POSITIONS, Count, Share, Source, Strict
from minikin.text.sources import Task


def _weighed(value: Any) -> Any:
    return {"source": value} if isinstance(value, str) else value


class WeighedSource(Strict):
    """A source to learn from; its name alone means a weight of 1."""

    source: Source = Field(description="`village:COUNT`, `hub:OWNER/NAME` or a file.")
    weight: float = Field(default=1.0, gt=0, description="How often it is seen for its size, against other sources.")


class Data(Strict):
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
    every_speaker: bool = Field(default=False, description="Learn every dialogue from the view of each who speaks.")
    prompt_weight: Share | None = Field(
        default=None, description="What a token that is not the answer counts here; data.prompt_weight if not said."
    )
    reply_weight: float = Field(
        default=0.0,
        ge=0,
        description="Dialogue: what telling the true reply from the batch's others counts in the loss.",
    )

    @model_validator(mode="after")
    def _test_is_not_trained_on(self) -> "Data":
        for weighed in self.train:
            # the village keeps its test meanings apart by itself; of a hub dataset the split is taken
            if weighed.source in (*self.test, *self.select) and not weighed.source.startswith(("village:", "hub:")):
                raise ValueError(f"{weighed.source} is both trained on and tested on")
        return self


class Corpora(Strict):
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
        for task in ("translation", "summarization", "text"):
            if (data := getattr(self, task)) and data.reply_weight:
                raise ValueError(f"{task}.reply_weight: replies are told apart in dialogue")
        if not self.examined:
            raise ValueError("no task has a test; give translation.test, summarization.test or dialogue.test")
        return self

    @property
    def replies_told_apart(self) -> bool:
        """Whether members learn to tell the true reply from others, by vectors."""
        return self.dialogue is not None and self.dialogue.reply_weight > 0

    @property
    def examined(self) -> tuple[Task, ...]:
        """The tasks that members are scored on."""
        tasks: tuple[Task, ...] = ("translation", "summarization", "dialogue")
        found: dict[Task, Data | None] = {task: getattr(self, task) for task in tasks}
        return tuple(task for task, data in found.items() if data and (data.test or data.select))
