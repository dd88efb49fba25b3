"""An engine's answers in the server's own loop: pieces as they come, and no more once nobody listens."""

import asyncio
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal, final

from minikin.base.errors import AskError, BusyError, EngineError
from minikin.engine.asking import Ask, Ended, Listener, Ticket, Token
from minikin.engine.speech import Stops
from minikin.serve.house import Served
from minikin.serve.metrics import Metrics, Watch
from minikin.serve.refusal import Refusal, refused, unavailable

LONGEST = 600.0  # seconds that a request may take, from its coming to its last word


@dataclass(frozen=True, kw_only=True)
class Piece:
    """What was said since the last piece. The last one of an answer tells why it ended and how many tokens it has."""

    text: str
    tokens: tuple[Token, ...] = ()
    finish: Literal["stop", "length"] | None = None
    count: int = 0


@final
class Speaking:
    """The asks of one request that are being answered; raises Refusal if one of them is refused."""

    def __init__(self, member: Served, asks: Sequence[Ask], stops: Sequence[str], metrics: Metrics) -> None:
        room = member.engine.room
        if len(asks) > room:
            said = f"{len(asks)} answers are asked for at once, and there is room for {room}; ask for fewer"
            raise Refusal(400, said, param="n")
        loop = asyncio.get_running_loop()
        self._heard, self._deadline = asyncio.Queue[tuple[int, Token | Ended]](), loop.time() + LONGEST
        self._answers = list[_Answer]()

        def hear(index: int, said: Token | Ended) -> None:
            with suppress(RuntimeError):  # the loop is closed: nobody is there to hear
                loop.call_soon_threadsafe(self._heard.put_nowait, (index, said))

        with ExitStack() as begun:
            for index, ask in enumerate(asks):
                self._answers.append(_answer(member, ask, Stops(stops), partial(hear, index), metrics))
                begun.callback(self._answers[-1].leave)
            begun.pop_all()
        metrics.read(member.name, sum(len(ask.prompt) for ask in asks))

    def leave(self) -> None:
        """However they ended, leave the engine free."""
        for answer in self._answers:
            answer.leave()

    async def pieces(self) -> AsyncGenerator[tuple[int, Piece], None]:
        """Piece by piece, whichever answer it is of; what has come of one meanwhile comes together.

        Raises Refusal if one breaks off.
        """
        going = len(self._answers)
        while going:
            for index, said in _by_answer(await _all(self._heard, self._deadline)):
                if not self._answers[index].left:
                    piece = self._answers[index].next(said)
                    going -= piece.finish is not None
                    yield index, piece

    async def whole(self) -> list[Piece]:
        """The answers at once."""
        found = [Piece(text="")] * len(self._answers)
        async for index, piece in self.pieces():
            before = found[index]
            found[index] = replace(piece, text=before.text + piece.text, tokens=before.tokens + piece.tokens)
        return found


@contextmanager
def speaking(member: Served, asks: Sequence[Ask], stops: Sequence[str], metrics: Metrics) -> Iterator[Speaking]:
    """All asks at once, until nobody listens any more; raises Refusal if one of them is refused."""
    begun = Speaking(member, asks, stops, metrics)
    try:
        yield begun
    finally:
        begun.leave()


@final
class _Answer:
    """One answer as it comes; once it has ended or is left, the engine is free of it."""

    def __init__(self, ticket: Ticket, watch: Watch, until: Stops) -> None:
        self._ticket, self._watch, self._until = ticket, watch, until
        self._said, self.left = 0, False

    def next(self, heard: Sequence[Token | Ended]) -> Piece:
        """What was heard, as a piece; raises Refusal if the answer breaks off."""
        piece = _joined(heard, self._until)
        said = self._said + sum(token.count for token in piece.tokens)
        if self._until.reached:
            piece = replace(piece, finish="stop", count=said)
        if piece.finish:
            said = piece.count  # the end knows of those that were not told, too
        if said > self._said:
            self._watch.said(said - self._said)
        self._said = said
        if piece.finish:
            self._watch.ended()
            self.leave()  # others of the same request may go on for long
        return piece

    def leave(self) -> None:
        """Want no more of it; once is enough."""
        if not self.left:
            self.left = True
            self._ticket.cancel()


def _answer(member: Served, ask: Ask, until: Stops, listener: Listener, metrics: Metrics) -> _Answer:
    try:
        ticket = member.engine.ask(ask, listener)
    except (AskError, BusyError, EngineError) as error:
        raise refused(error) from error
    return _Answer(ticket, metrics.watch(member.name), until)


async def _all(heard: asyncio.Queue[tuple[int, Token | Ended]], deadline: float) -> list[tuple[int, Token | Ended]]:
    """What has been said, at least one thing; raises Refusal once the deadline is over."""
    try:
        async with asyncio.timeout_at(deadline):
            await asyncio.sleep(0)  # where what was heard is always more, the deadline is looked at all the same
            found = [await heard.get()]
    except TimeoutError as error:
        said = f"the request took longer than {LONGEST:.0f} s, waiting included"
        raise Refusal(504, said, kind="server_error") from error
    while not heard.empty():
        found.append(heard.get_nowait())
    return found


def _by_answer(heard: Sequence[tuple[int, Token | Ended]]) -> list[tuple[int, list[Token | Ended]]]:
    """What each answer has said, whichever spoke first as the first."""
    found: dict[int, list[Token | Ended]] = {}
    for index, said in heard:
        found.setdefault(index, []).append(said)
    return list(found.items())


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
