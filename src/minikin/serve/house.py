"""The members that are served, by name, and what an ask to each is made of."""

import asyncio
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import final

from minikin.base.errors import AskError
from minikin.engine.asking import Ask, Engine, fitting
from minikin.serve.fields import ChatMessage, Settings
from minikin.serve.refusal import Refusal, refused
from minikin.serve.spelling import Spelling
from minikin.text.chat import Message, Role, encode_prompt
from minikin.text.tokenizer import Tokenizer

# no token of any text is longer on average: more than this cannot fit, and is not looked at word by word
_BYTES_A_TOKEN = 16
_ROLES: Mapping[str, Role] = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}


@dataclass(frozen=True, kw_only=True)
class Served:
    """One member: what answers, and what its words are."""

    name: str
    engine: Engine
    tokenizer: Tokenizer
    since: int = field(default_factory=lambda: int(time.time()))

    @cached_property
    def spelling(self) -> Spelling:
        """What its tokens are called."""
        return Spelling(self.tokenizer)

    async def prompt_of_chat(self, messages: Sequence[ChatMessage], param: str) -> tuple[int, ...]:
        """Tokens up to where the assistant speaks; `param` is the field that messages came in."""
        told = [Message(role=_ROLES[message.role], content=_text(message)) for message in messages]
        self._refuse_too_long(sum(len(message.content.encode()) for message in told), param)
        return tuple(await asyncio.to_thread(encode_prompt, self.tokenizer, told))

    async def prompt_of_text(self, text: str) -> tuple[int, ...]:
        """Tokens of a text to be gone on with."""
        self._refuse_too_long(len(text.encode()), "prompt")
        found = await asyncio.to_thread(self.tokenizer.encode, text)
        return (self.tokenizer.bos_id, *found)

    def asks(
        self, prompt: tuple[int, ...], settings: Settings, most: int | None, logprobs: int | None, count: int
    ) -> list[Ask]:
        """What the engine is asked for, `count` times with a seed each; raises Refusal if it cannot be answered."""
        seed = secrets.randbelow(1 << 32) if settings.seed is None else settings.seed
        ask = self._ask(prompt, settings, most, logprobs)
        try:
            fitting(ask, self.engine.context, self.engine.vocab_size)
        except AskError as error:
            raise refused(error, settings.prompt_field) from error
        return [replace(ask, seed=(seed + choice) % (1 << 32)) for choice in range(count)]

    def _ask(self, prompt: tuple[int, ...], settings: Settings, most: int | None, logprobs: int | None) -> Ask:
        return Ask(
            prompt=prompt,
            max_tokens=most or self.engine.context,
            temperature=settings.temperature or 0.0,
            top_k=settings.top_k or 0,
            top_p=1.0 if settings.top_p is None else settings.top_p,
            min_p=settings.min_p or 0.0,
            repetition_penalty=settings.repetition_penalty or settings.repeat_penalty or 1.0,
            presence_penalty=settings.presence_penalty or 0.0,
            frequency_penalty=settings.frequency_penalty or 0.0,
            logit_bias={int(token): bias for token, bias in (settings.logit_bias or {}).items()},
            logprobs=logprobs,
        )

    def _refuse_too_long(self, size: int, param: str) -> None:
        most = self.engine.context * _BYTES_A_TOKEN
        if size > most:
            raise Refusal(
                400,
                f"the prompt has {size} bytes, and no more than {most} fit into the {self.engine.context} tokens of "
                "this member's context; shorten the prompt",
                param=param,
                code="context_length_exceeded",
            )


@final
class House:
    """All members that are served."""

    def __init__(self, members: Sequence[Served]) -> None:
        self._members = {member.name: member for member in members}

    def __iter__(self) -> Iterator[Served]:
        return iter(self._members.values())

    def member(self, name: str) -> Served:
        """The member of this name; raises Refusal naming all if there is none."""
        if name not in self._members:
            known = ", ".join(self._members)
            raise Refusal(
                404,
                f"the model {name[:100]!r} does not exist; there are {known}",
                param="model",
                code="model_not_found",
            )
        return self._members[name]

    def close(self) -> None:
        """End all engines."""
        for member in self:
            member.engine.close()


def _text(message: ChatMessage) -> str:
    content = message.content
    return content if isinstance(content, str) else "".join(part.text for part in content)
