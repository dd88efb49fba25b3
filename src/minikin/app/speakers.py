"""The members that one can talk to in the terminal, each opened when it is first asked."""

import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from types import FrameType
from typing import cast, final

from minikin.base.errors import EngineError
from minikin.engine.asking import Ask, Ended, Engine, Ticket, Token
from minikin.model.decoding import Decoding
from minikin.text.chat import Message, encode_prompt
from minikin.text.tokenizer import Tokenizer


@dataclass(frozen=True, kw_only=True)
class Spoken:
    """An answer; `stopped` if Ctrl-C ended it."""

    text: str
    tokens: int
    seconds: float
    stopped: bool = False

    def __str__(self) -> str:
        """How long it took."""
        speed = f", {self.tokens / self.seconds:,.0f} tokens/s" if self.tokens and self.seconds else ""
        return f"{self.tokens} tokens in {self.seconds:.2f} s{speed}" + (", stopped" if self.stopped else "")


@final
class Speakers:
    """Members by name; `opened` makes an engine of a member's folder."""

    def __init__(self, members: Sequence[Path], opened: Callable[[Path], Engine]) -> None:
        self._folders, self._open = {member.resolve().name: member for member in members}, opened
        self._engines: dict[str, tuple[Engine, Tokenizer]] = {}

    @property
    def names(self) -> list[str]:
        """All of them, in order."""
        return list(self._folders)

    def engine(self, name: str) -> tuple[Engine, Tokenizer]:
        """What answers for a member, opened if it was not; raises MinikinError if it cannot be."""
        if name not in self._engines:
            folder = self._folders[name]
            tokenizer = Tokenizer.load(folder)
            self._engines[name] = self._open(folder), tokenizer
        return self._engines[name]

    def speak(
        self,
        name: str,
        conversation: Sequence[Message],
        decoding: Decoding,
        seed: int,
        hear: Callable[[str], None],
    ) -> Spoken:
        """A member's answer, of which `hear` is told every piece; Ctrl-C ends it early. Raises AskError if too long."""
        engine, tokenizer = self.engine(name)
        # this queue may be put to while a signal has interrupted its own reader
        said, begun, text = SimpleQueue[Token | Ended](), time.monotonic(), ""
        prompt = tuple(encode_prompt(tokenizer, conversation))
        with _interrupting() as stop:
            stop.cancels(engine.ask(_ask(prompt, decoding, seed), said.put))
            while True:
                piece = said.get()
                if piece.text and not stop.came:  # what is not shown has not been said
                    text += piece.text
                    hear(piece.text)
                if isinstance(piece, Ended):
                    break
        if piece.reason == "failed":
            raise EngineError(f"{name}: {piece.problem}")
        seconds = time.monotonic() - begun
        return Spoken(text=text, tokens=piece.tokens, seconds=seconds, stopped=stop.came)

    def close(self) -> None:
        """End all that were opened."""
        for engine, _ in self._engines.values():
            engine.close()


@final
class _Stop:
    """Ctrl-C, which cancels an ask and does nothing else."""

    def __init__(self) -> None:
        self.came, self._ticket = False, cast(Ticket | None, None)

    def cancels(self, ticket: Ticket) -> None:
        """This one, also if it has come already."""
        self._ticket = ticket
        if self.came:
            ticket.cancel()

    def __call__(self, _: int, __: FrameType | None) -> None:
        self.came = True
        if self._ticket is not None:
            self._ticket.cancel()


@contextmanager
def _interrupting() -> Iterator[_Stop]:
    stop = _Stop()
    before = signal.signal(signal.SIGINT, stop)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before)


def _ask(prompt: tuple[int, ...], decoding: Decoding, seed: int) -> Ask:
    return Ask(
        prompt=prompt,
        max_tokens=decoding.max_new_tokens,
        temperature=decoding.temperature,
        top_k=decoding.top_k,
        top_p=decoding.top_p,
        min_p=decoding.min_p,
        repetition_penalty=decoding.repetition_penalty,
        seed=seed,
    )
