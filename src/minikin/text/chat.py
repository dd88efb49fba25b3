"""Messages to tokens, and which of the tokens are the answer.

Gemma 4's turns: `<bos><|turn>user⏎…<turn|>⏎<|turn>model⏎…<turn|>⏎`. One way of asking for every task.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Literal

from minikin.text.records import Dialogue, Record, Selection, Summarization, Text, Translation, Turn
from minikin.text.tokenizer import Tokenizer

Role = Literal["system", "user", "assistant"]
_LANGUAGES = {
    "de": "German",
    "en": "English",
    "es": "Spanish",
    "fr": "French",
    "it": "Italian",
    "nl": "Dutch",
    "pl": "Polish",
    "pt": "Portuguese",
}


@dataclass(frozen=True, kw_only=True)
class Message:
    """One turn of a chat."""

    role: Role
    content: str


@dataclass(frozen=True, kw_only=True)
class Example:
    """A document as tokens; `answer` is True where a token was the assistant's to say."""

    tokens: list[int]
    answer: list[bool]


def chat_template() -> str:
    """The same turns in Jinja, for Transformers and llama.cpp."""
    return files("minikin.text").joinpath("chat_template.jinja").read_text(encoding="utf-8")


def messages(record: Record) -> tuple[Message, ...]:
    """A record as a chat that ends with the assistant's answer."""
    match record:
        case Translation(source=source, target=target, target_lang=language):
            return asked(f"Translate to {_LANGUAGES.get(language, language)}: {source}", target)
        case Summarization(document=document, summary=summary):
            return asked(f"Summarize: {document}", summary)
        case Dialogue(turns=turns):
            return _as_chat(turns, turns[-1].role)
        case Selection(context=context, role=role, candidates=candidates, answer=answer):
            return _as_chat((*context, Turn(role=role, text=candidates[answer])), role)
        case Text(text=text):
            return (Message(role="assistant", content=text),)


def asked(question: str, answer: str) -> tuple[Message, ...]:
    """A question and its answer."""
    return Message(role="user", content=question), Message(role="assistant", content=answer)


def encode_example(tokenizer: Tokenizer, record: Record) -> Example:
    """A training document of a record; of plain text, every token counts as answer."""
    if isinstance(record, Text):
        tokens = [tokenizer.bos_id, *tokenizer.encode(record.text), tokenizer.eos_id]
        return Example(tokens=tokens, answer=[True] * len(tokens))
    tokens, answer = [tokenizer.bos_id], [False]
    for message in messages(record):
        opening, content, closing = _turn(tokenizer, message)
        spoken = message.role == "assistant"
        tokens += opening + content + closing
        answer += [False] * len(opening) + [spoken] * (len(content) + 1) + [False] * (len(closing) - 1)
    return Example(tokens=tokens, answer=answer)


def unfinished(tokenizer: Tokenizer, example: Example) -> Example:
    """The same, but that its last turn does not end: it was broken off."""
    closing = len(_closing(tokenizer))
    return Example(tokens=example.tokens[:-closing], answer=example.answer[:-closing])


def encode_prompt(tokenizer: Tokenizer, conversation: Sequence[Message]) -> list[int]:
    """Tokens up to where the assistant begins to speak."""
    tokens = [tokenizer.bos_id]
    for message in conversation:
        tokens += [token for part in _turn(tokenizer, message) for token in part]
    return [*tokens, tokenizer.turn_start_id, *tokenizer.encode("model\n")]


def encode_reply(tokenizer: Tokenizer, text: str) -> list[int]:
    """Tokens of an assistant's turn, its end included, to follow a prompt."""
    return [*tokenizer.encode(text), tokenizer.turn_end_id]


def _as_chat(turns: Sequence[Turn], speaker: str) -> tuple[Message, ...]:
    return tuple(Message(role="assistant" if turn.role == speaker else "user", content=turn.text) for turn in turns)


def _turn(tokenizer: Tokenizer, message: Message) -> tuple[list[int], list[int], list[int]]:
    # content is encoded by itself, so that no token spans what was said and what frames it
    name = "model" if message.role == "assistant" else message.role
    opening = [tokenizer.turn_start_id, *tokenizer.encode(f"{name}\n")]
    return opening, tokenizer.encode(message.content), _closing(tokenizer)


def _closing(tokenizer: Tokenizer) -> list[int]:
    return [tokenizer.turn_end_id, *tokenizer.encode("\n")]
