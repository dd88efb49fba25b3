"""The part of a recipe that says how answers are written, task by task."""

from pydantic import Field, model_validator

from minikin.base.errors import DecodingError
from minikin.family.fields import MAX_POSITIONS, Count, Ratio, Share, Strict
from minikin.model.decoding import Decoding


class TaskDecoding(Strict):
    """How answers of translation, summarization or dialogue are written: by members and by teachers.

    Names are Transformers'. Greedy if nothing is said; a temperature draws, beams search.
    """

    max_new_tokens: Count | None = Field(
        default=None, le=MAX_POSITIONS // 2, description="Longest answer; measure.max_new_tokens if not set."
    )
    num_beams: Count = Field(default=1, le=64, description="Answers that are written side by side; 1 for no search.")
    length_penalty: float = Field(
        default=1.0,
        ge=-10,
        le=10,
        description="Beams compare log p / length to this power: 0 is the sum, 1 the mean.",
    )
    temperature: float = Field(default=0.0, ge=0, description="0 takes the likeliest token; above, tokens are drawn.")
    top_k: int = Field(default=0, ge=0, description="Draw from this many likeliest tokens; 0 for all.")
    top_p: Ratio = Field(default=1.0, description="Draw from the likeliest tokens that hold this share of the mass.")
    min_p: Share = Field(
        default=0.0, description="Draw from tokens that are at least so many times as likely as the first."
    )
    repetition_penalty: float = Field(
        default=1.0, gt=0, description="Divides scores of tokens that the prompt or the answer has; 1 for none."
    )
    no_repeat_ngram_size: int = Field(
        default=0, ge=0, description="No run of this many tokens comes twice, the prompt's included; 0 for no rule."
    )

    def settings(self, longest: int) -> Decoding:
        """For the model; `longest` holds where nothing is said."""
        return Decoding(max_new_tokens=self.max_new_tokens or longest, **self.model_dump(exclude={"max_new_tokens"}))

    @model_validator(mode="after")
    def _settings_agree(self) -> "TaskDecoding":
        try:
            self.settings(1)
        except DecodingError as error:
            raise ValueError(str(error)) from error
        return self


class Decodings(Strict):
    """How the answers of all tasks are written."""

    translation: TaskDecoding = TaskDecoding()
    summarization: TaskDecoding = TaskDecoding()
    dialogue: TaskDecoding = TaskDecoding()
