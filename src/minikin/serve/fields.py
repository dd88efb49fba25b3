"""What requests may say: the fields of OpenAI's API that are honoured, and those of llama.cpp beside them.

Fields that are not named here are ignored, as clients send many that mean nothing to a small model.
"""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

LONGEST_STOP, MOST_STOPS, MOST_CHOICES, MOST_MESSAGES, MOST_BIASES = 256, 4, 4, 256, 1024


def _listed(value: Any) -> Any:
    return [] if value is None else [value] if isinstance(value, str) else value


def _off(value: Any) -> Any:
    return 0 if value == -1 and not isinstance(value, bool) else value


def _few(value: Any) -> Any:
    """As it is, unless there are too many to look at each."""
    if isinstance(value, dict) and len(value) > MOST_BIASES:
        raise PydanticCustomError(
            "too_long",
            "Dictionary should have at most {most} items, not {found}",
            {"most": MOST_BIASES, "found": len(value)},
        )
    return value


class _Fields(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, strict=True)


class TextPart(_Fields):
    """A part of a message that is text; no other kind is read."""

    type: Literal["text", "input_text", "output_text"]
    text: str


# of many that are wrong the first is told, and the others are not looked at
Content = str | Annotated[list[TextPart], Field(max_length=MOST_MESSAGES, fail_fast=True)]


class ChatMessage(_Fields):
    """One turn."""

    role: Literal["system", "developer", "user", "assistant"]
    content: Content


class StreamOptions(_Fields):
    """What a stream tells beside the answer."""

    include_usage: bool = False


class ResponseFormat(_Fields):
    """Only plain text."""

    type: Literal["text"] = "text"


class Settings(_Fields):
    """How an answer is written, for every route. At temperature 0, the default, the likeliest token is taken."""

    prompt_field: ClassVar[str] = "messages"

    model: Annotated[str, Field(max_length=256)]
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    top_k: Annotated[int, Field(ge=0, le=1 << 20), BeforeValidator(_off)] | None = None
    min_p: Annotated[float, Field(ge=0, le=1)] | None = None
    repeat_penalty: Annotated[float, Field(ge=0.1, le=10)] | None = None
    repetition_penalty: Annotated[float, Field(ge=0.1, le=10)] | None = None
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    logit_bias: (
        Annotated[
            dict[Annotated[str, Field(pattern=r"^\d{1,8}$")], Annotated[float, Field(ge=-100, le=100)]],
            Field(max_length=MOST_BIASES),
            BeforeValidator(_few),
        ]
        | None
    ) = None
    seed: Annotated[int, Field(ge=-(1 << 63), lt=1 << 64)] | None = None
    stop: Annotated[
        list[Annotated[str, Field(max_length=LONGEST_STOP)]], Field(max_length=MOST_STOPS), BeforeValidator(_listed)
    ] = []
    stream: bool | None = False


_Ids = Annotated[list[int], Field(min_length=1, max_length=1 << 16, fail_fast=True)]
_FEW = Field(min_length=1, max_length=MOST_CHOICES, fail_fast=True)
_Limit = Annotated[int, Field(ge=1, le=1 << 31)] | None


class ChatRequest(Settings):
    """POST /v1/chat/completions."""

    messages: Annotated[list[ChatMessage], Field(min_length=1, max_length=MOST_MESSAGES, fail_fast=True)]
    max_tokens: _Limit = None
    max_completion_tokens: _Limit = None
    n: Annotated[int, Field(ge=1, le=MOST_CHOICES)] | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    stream_options: StreamOptions | None = None
    response_format: ResponseFormat | None = None
    chat_template_kwargs: dict[str, Any] | None = None  # members have one template, which takes none
    tool_choice: Literal["none", "auto"] | None = None


class CompletionRequest(Settings):
    """POST /v1/completions: a prompt as text or as token ids, or several."""

    prompt_field = "prompt"

    prompt: str | _Ids | Annotated[list[str], _FEW] | Annotated[list[_Ids], _FEW]
    max_tokens: _Limit = None
    n: Annotated[int, Field(ge=1, le=MOST_CHOICES)] | None = None
    logprobs: Annotated[int, Field(ge=0, le=5)] | None = None
    echo: bool | None = None
    best_of: Annotated[int, Field(ge=1, le=1)] | None = None  # all that are written are told
    suffix: Literal[""] | None = None
    stream_options: StreamOptions | None = None


class InputMessage(_Fields):
    """One turn of a response's input."""

    type: Literal["message"] = "message"
    role: Literal["system", "developer", "user", "assistant"]
    content: Content


class TextFormat(_Fields):
    """Only plain text."""

    format: ResponseFormat | None = None


class ResponsesRequest(Settings):
    """POST /v1/responses. Nothing is stored, so nothing can be gone on with."""

    prompt_field = "input"

    input: str | Annotated[list[InputMessage], Field(min_length=1, max_length=MOST_MESSAGES, fail_fast=True)]
    instructions: str | None = None
    max_output_tokens: _Limit = None
    text: TextFormat | None = None
    previous_response_id: None = None
    tool_choice: Literal["none", "auto"] | None = None
