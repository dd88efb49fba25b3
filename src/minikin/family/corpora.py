"""The part of a recipe that says what is learned from and what members are examined on."""

import difflib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, model_validator

from minikin.family.fields import MAX_POSITIONS, Count, Places, Share, Source, Strict
from minikin.text.mapping import FIELDS, Task

DATA_ROOT = "MINIKIN_DATA"  # the environment variable that says where files are


class NamedSource(Strict):
    """Where records are from: a file, else a dataset of the hub. The name of a source alone means a table with it."""

    source: Source = Field(description="`village:COUNT`, `hub:OWNER/NAME` or a file.")
    hub: str | None = Field(
        default=None,
        pattern=r"^[\w.-]+(/[\w.-]+)?$",
        description="OWNER/NAME of the dataset that is fetched where the file is not there.",
    )
    split: str | None = Field(
        default=None,
        min_length=1,
        description="Of the dataset, the files with this word in their path, or FOLDER/WORD; else train or test.",
    )
    revision: str | None = Field(
        default=None, min_length=1, description="Of the dataset, a commit, tag or branch: refs/convert/parquet."
    )
    fields: Places = Field(
        default={},
        description="Where our fields are in the records of the dataset, or of the file where no hub is named: "
        '`{source = "translation.en", target = "translation.de"}`, `{turns = "dialog"}`, '
        '`{turns.text = "turns.utterance", turns.role = "turns.speaker"}`.',
    )
    source_lang: str | None = Field(
        default=None, description="Language of all its source texts, whatever records say: en."
    )
    target_lang: str | None = Field(
        default=None, description="Language of all its target texts, whatever records say: de."
    )

    @property
    def is_village(self) -> bool:
        """Whether it is the built-in one."""
        return self.source.startswith("village:")

    @property
    def dataset(self) -> str | None:
        """The hub's dataset, if one is named."""
        kind, _, name = self.source.partition(":")
        return name if kind == "hub" else self.hub

    @model_validator(mode="after")
    def _belongs_together(self) -> "NamedSource":
        if self.hub is not None and (self.is_village or self.source.startswith("hub:")):
            raise ValueError(f"hub: {self.source} is no file that a dataset could stand in for")
        if self.dataset is None and (self.split or self.revision):
            raise ValueError("split and revision are a dataset's; name it: hub = OWNER/NAME")
        if self.is_village and (self.fields or self.source_lang or self.target_lang):
            raise ValueError(f"fields: {self.source} has our own names")
        return self


class WeighedSource(NamedSource):
    """A source to learn from; its name alone means a weight of 1. In test and select, the same without a weight."""

    weight: float = Field(default=1.0, gt=0, description="How often it is seen for its size, against other sources.")


def _named(value: Any) -> Any:
    return {"source": value} if isinstance(value, str) else value


class Data(Strict):
    """Sources of one task: `village:COUNT`, `hub:OWNER/NAME`, or a .jsonl, .jsonl.gz, .parquet or .csv file."""

    share: float = Field(default=1.0, gt=0, description="Part of the training rows, relative to other tasks.")
    train: list[Annotated[WeighedSource, BeforeValidator(_named)]] = Field(
        min_length=1, description="Sources to learn from: names, or `{source = NAME, weight = 2}`."
    )
    test: list[Annotated[NamedSource, BeforeValidator(_named)]] = Field(
        default=[], description="Held-out sources to measure on; never trained on. Names, or tables."
    )
    select: list[Annotated[NamedSource, BeforeValidator(_named)]] = Field(
        default=[],
        description="Held-out response selection, dialogue only; it is then scored here instead of on test. "
        "Of whole dialogues one turn each is drawn as the true reply, among drawn turns of the others.",
    )
    both_directions: bool = Field(default=False, description="Learn and test every translation both ways.")
    every_speaker: bool = Field(default=False, description="Learn every dialogue from the view of each who speaks.")
    prompt_weight: Share | None = Field(
        default=None, description="The same for this task; data.prompt_weight if not set."
    )
    block_length: Count | None = Field(
        default=None,
        description="No document crosses a multiple of so many tokens in a row, and longer ones are cut; the whole row "
        "if not set. A quarter of data.sequence_length trains faster where documents are short.",
    )
    reply_weight: float = Field(
        default=0.0,
        ge=0,
        description="Dialogue: loss weight of telling the true reply from the others of the batch.",
    )

    @model_validator(mode="after")
    def _test_is_not_trained_on(self) -> "Data":
        tested = {place for source in (*self.test, *self.select) for place in _places(source, "test")}
        for source in self.train:
            for place in _places(source, "train"):
                if place in tested:
                    raise ValueError(f"{place} is both trained on and tested on")
        return self


def _places(source: NamedSource, split: str) -> Iterator[str]:
    """The file and the split of a dataset that a source names; the village keeps its test meanings apart by itself."""
    if not source.is_village and not source.source.startswith("hub:"):
        yield os.path.normpath(source.source)
    if source.dataset:
        yield f"hub:{source.dataset}, {source.split or split}"


class Corpora(Strict):
    """The data of all tasks."""

    root: str | None = Field(
        default=None,
        description=f"Folder that relative file names start from; if not set, the environment variable {DATA_ROOT}, "
        "else the folder that you are in.",
    )
    sequence_length: Count = Field(
        default=256, le=MAX_POSITIONS, description="Tokens in a packed row; longer documents are cut."
    )
    prompt_weight: Share = Field(default=0.1, description="Loss weight of a token that is not the answer.")
    tokenizer_characters: Count = Field(
        default=20_000_000,
        description="Characters of training texts that the tokenizer sees at most, by the tasks' shares.",
    )
    translation: Data | None = Field(default=None, description="Pairs of texts; at least one of the tasks is given.")
    summarization: Data | None = Field(default=None, description="Documents and their summaries.")
    dialogue: Data | None = Field(default=None, description="Conversations.")
    text: Data | None = Field(default=None, description="Plain text; it is learned from, not examined on.")

    @model_validator(mode="after")
    def _fields_are_ours(self) -> "Corpora":
        for task, data in self.tasks.items():
            for part, sources in (("train", data.train), ("test", data.test), ("select", data.select)):
                known = (*FIELDS[task], *(FIELDS["selection"] if part == "select" else ()))
                for field in (field for source in sources for field in source.fields if field not in known):
                    near = difflib.get_close_matches(field, known, 1)
                    hint = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(known)}"
                    raise ValueError(f"{task}.{part}: fields: {task} has no {field!r}; {hint}")
        return self

    @model_validator(mode="after")
    def _something_is_examined(self) -> "Corpora":
        for task in ("translation", "summarization", "text"):
            if (data := getattr(self, task)) and data.select:
                raise ValueError(f"{task}.select: response selection is for dialogue")
        for task in ("translation", "summarization", "text"):
            if (data := getattr(self, task)) and data.reply_weight:
                raise ValueError(f"{task}.reply_weight: replies are told apart in dialogue")
        for task, data in self.tasks.items():
            if data.block_length and self.sequence_length % data.block_length:
                raise ValueError(f"{task}.block_length: {data.block_length} does not divide {self.sequence_length}")
        if not self.examined:
            raise ValueError("no task has a test; give translation.test, summarization.test or dialogue.test")
        return self

    @property
    def folder(self) -> Path:
        """Where relative file names start."""
        return Path(self.root or os.environ.get(DATA_ROOT) or ".")

    @property
    def tasks(self) -> dict[Task, Data]:
        """The tasks that there is data for, and where it is from."""
        found: dict[Task, Data | None] = {
            "translation": self.translation,
            "summarization": self.summarization,
            "dialogue": self.dialogue,
            "text": self.text,
        }
        return {task: data for task, data in found.items() if data is not None}

    @property
    def replies_told_apart(self) -> bool:
        """Whether members learn to tell the true reply from others, by vectors."""
        return self.dialogue is not None and self.dialogue.reply_weight > 0

    @property
    def examined(self) -> tuple[Task, ...]:
        """The tasks that members are scored on."""
        return tuple(task for task, data in self.tasks.items() if task != "text" and (data.test or data.select))
