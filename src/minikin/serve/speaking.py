"""An engine's answer in the server's own loop: pieces as they come, and no more once nobody listens."""

import asyncio
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Literal, final

from minikin.base.errors import AskError, BusyError, EngineError
from minikin.engine.asking import Ask, Ended, Token
from minikin.engine.speech import Stops
from minikin.serve.house import Served
from minikin.serve.metrics import Metrics
from minikin.serve.refusal import Refusal, refused, unavailable

LONGEST = 600.0  # seconds that an answer may take


@dataclass(frozen=True, kw_only=True)
class Piece:
    """What was said since the last piece. The last one of an answer tells why it ended and how many tokens it has."""

    text: str
    tokens: tuple[Token, ...] = ()
    finish: Literal["stop", "length"] | None = None
    count: int = 0


@final
class Speaking:
    """An ask that is being answered; raises Refusal if the engine cannot."""

    def __init__(self, member: Served, ask: Ask, stops: Sequence[str], metrics: Metrics) -> None:
        heard, loop = asyncio.Queue[Token | Ended](), asyncio.get_running_loop()

        def hear(said: Token | Ended) -> None:
            with suppress(RuntimeError):  # the loop is closed: nobody is there to hear
                loop.call_soon_threadsafe(heard.put_nowait, said)

        try:
            self._ticket = member.engine.ask(ask, hear)
        except (AskError, BusyError, EngineError) as error:
            raise refused(error) from error
        self._watch = metrics.begun(member.name, len(ask.prompt))
        self._heard, self._until, self._deadline = heard, Stops(stops), loop.time() + LONGEST
        self._left = False

    def leave(self) -> None:
        """However it ended, leave the engine free; once is enough."""
        if not self._left:
            self._left = True
            self._ticket.cancel()
            self._watch.ended()

    async def pieces(self) -> AsyncGenerator[Piece, None]:
        """The answer piece by piece; what has come meanwhile comes together. Raises Refusal if it breaks off."""
        said = 0
        while True:
            piece = _joined(await _all(self._heard, self._deadline), self._until)
            said += len(piece.tokens)
            if piece.tokens:
                self._watch.said(len(piece.tokens))
            if self._until.reached:
                piece = replace(piece, finish="stop", count=said)
            if piece.finish:
                self.leave()  # others of the same request may go on for long
            yield piece
            if piece.finish:
                return

    async def whole(self) -> Piece:
        """The answer at once."""
        text, tokens = "", list[Token]()
        async for piece in self.pieces():
            text, tokens = text + piece.text, [*tokens, *piece.tokens]
            if piece.finish:
                return replace(piece, text=text, tokens=tuple(tokens))
        raise AssertionError("the last piece tells why it ended")


@contextmanager
def speaking(member: Served, asks: Sequence[Ask], stops: Sequence[str], metrics: Metrics) -> Iterator[list[Speaking]]:
    """All asks at once, until nobody listens any more; raises Refusal if one of them is refused."""
    with ExitStack() as left:
        begun = list[Speaking]()
        for ask in asks:
            begun.append(Speaking(member, ask, stops, metrics))
            left.callback(begun[-1].leave)
        yield begun


async def _all(heard: asyncio.Queue[Token | Ended], deadline: float) -> list[Token | Ended]:
    """What has been said, at least one thing; raises Refusal if nothing comes until the deadline."""
    try:
        async with asyncio.timeout_at(deadline):
            found = [await heard.get()]
    except TimeoutError as error:
        raise Refusal(503, f"the answer took longer than {LONGEST:.0f} s", kind="server_error") from error
    while not heard.empty():
        found.append(heard.get_nowait())
    return found


def _joined(said: Sequence[Token | Ended], until: Stops) -> Piece:
    text, tokens = "", list[Token]()
    for each in said:
        if isinstance(each, Ended):
            return _last(each, text, tokens, until)
        tokens.append(each)
        text += until.more(each.text)
        if until.reached:
            break
    return Piece(text=text, tokens=tuple(tokens))


def _last(ended: Ended, text: str, tokens: Sequence[Token], until: Stops) -> Piece:
    if ended.reason in ("failed", "cancelled"):
        raise unavailable(ended.problem or "an answer was broken off")
    text += until.more(ended.text) + ("" if until.reached else until.rest())
    finish = "length" if ended.reason == "length" else "stop"
    return Piece(text=text, tokens=tuple(tokens), finish=finish, count=ended.tokens)
