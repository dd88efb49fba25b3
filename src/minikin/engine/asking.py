"""What is asked of an engine and what it says, token by token.

An engine works in another thread, or in a process. Whoever asks gives a listener, which hears of every token from
there, and of the end as the last; it must be quick, and must not raise.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, Protocol

from minikin.base.errors import AskError, TooLongError


@dataclass(frozen=True, kw_only=True)
class Ask:
    """A prompt and how to go on with it. Names are Transformers', but those of penalties, which are OpenAI's.

    `temperature` 0 takes the likeliest token and draws nothing. `top_k` 0, `top_p` 1, `min_p` 0, `repetition_penalty` 1
    and penalties of 0 are off. Penalties count the prompt, too. `logit_bias` is added to the scores of token ids.
    `logprobs` asks for the probability of every token and of so many that were likelier, before any of these settings;
    None asks for none.
    """

    prompt: tuple[int, ...]
    max_tokens: int
    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    logit_bias: Mapping[int, float] = field(default_factory=dict[int, float])
    seed: int = 0
    logprobs: int | None = None


@dataclass(frozen=True, kw_only=True)
class Token:
    """One token that was said, and the text that is sure by now; natural log probabilities, if they were asked for.

    `count` is more than one where tokens before it were not told: parts of a character, in llama.cpp.
    """

    id: int
    text: str
    logprob: float | None = None
    likeliest: tuple[tuple[int, float], ...] = ()
    count: int = 1


Reason = Literal["stop", "length", "cancelled", "failed"]


@dataclass(frozen=True, kw_only=True)
class Ended:
    """Why nothing more comes: the model ended, the limit was reached, the asker left, or the engine failed.

    `tokens` were said, and `text` is what is left to say of them.
    """

    reason: Reason
    tokens: int = 0
    text: str = ""
    problem: str = ""


Listener = Callable[[Token | Ended], None]


@dataclass(frozen=True, kw_only=True)
class Ticket:
    """One thing asked. Who cancels wants no more of it: its end is told as soon as its place is free."""

    cancel: Callable[[], None]


@dataclass(frozen=True, kw_only=True)
class Load:
    """How busy an engine is, and whether it answers at all."""

    running: int
    waiting: int
    slots: int
    alive: bool = True


class Engine(Protocol):
    """Answers many at once; `room` are those that may be answered and wait together."""

    name: str
    context: int
    vocab_size: int
    room: int

    def ask(self, ask: Ask, listener: Listener) -> Ticket:
        """Begin to answer; raises AskError if it cannot be answered, BusyError if too many wait already."""
        ...

    def load(self) -> Load:
        """How busy it is now."""
        ...

    def close(self) -> None:
        """Answer no more; whoever waits hears that it was cancelled."""
        ...


def fitting(ask: Ask, context: int, vocab_size: int) -> Ask:
    """The same with no more tokens than there is room for; raises AskError if it cannot be answered."""
    if not ask.prompt:
        raise AskError("the prompt is empty; it needs at least one token")
    if len(ask.prompt) >= context:
        raise TooLongError(
            f"the prompt has {len(ask.prompt)} tokens, and the context of this member is {context} with the answer; "
            "shorten the prompt"
        )
    for where, tokens in (("prompt", ask.prompt), ("logit_bias", ask.logit_bias)):
        if strange := [token for token in tokens if not 0 <= token < vocab_size]:
            raise AskError(f"token {strange[0]}: this member knows ids from 0 to {vocab_size - 1}", where)
    if not -(1 << 63) <= ask.seed < 1 << 64:
        raise AskError(f"the seed is {ask.seed}; it needs to be at least -2^63 and below 2^64", "seed")
    room = context - len(ask.prompt)
    return replace(ask, max_tokens=min(ask.max_tokens, room))
