"""An engine's answer in the server's own loop: pieces as they come, and no more once nobody listens."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass, replace
from typing import Literal

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


async def spoken(member: Served, ask: Ask, stops: Sequence[str], metrics: Metrics) -> AsyncGenerator[Piece, None]:
    """An answer piece by piece; what has come meanwhile comes together. Raises Refusal if the engine cannot.

    However it ends, the engine is left free.
    """
    heard, loop = asyncio.Queue[Token | Ended](), asyncio.get_running_loop()

    def hear(said: Token | Ended) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody is there to hear
            loop.call_soon_threadsafe(heard.put_nowait, said)

    try:
        ticket = member.engine.ask(ask, hear)
    except (AskError, BusyError, EngineError) as error:
        raise refused(error) from error
    watch = metrics.begun(member.name, len(ask.prompt))
    until, said = Stops(stops), 0
    deadline = loop.time() + LONGEST
    try:
        while True:
            piece = _joined(await _all(heard, deadline), until)
            said += len(piece.tokens)
            if piece.tokens:
                watch.said(len(piece.tokens))
            if until.reached:
                piece = replace(piece, finish="stop", count=said)
            yield piece
            if piece.finish:
                return
    finally:
        ticket.cancel()
        watch.ended()


async def whole(member: Served, ask: Ask, stops: Sequence[str], metrics: Metrics) -> Piece:
    """An answer at once."""
    text, tokens = "", list[Token]()
    async with aclosing(spoken(member, ask, stops, metrics)) as pieces:
        async for piece in pieces:
            text, tokens = text + piece.text, [*tokens, *piece.tokens]
            if piece.finish:
                return replace(piece, text=text, tokens=tuple(tokens))
    raise unavailable(f"{member.name}: the engine broke off")


async def wholes(member: Served, asks: Sequence[Ask], stops: Sequence[str], metrics: Metrics) -> list[Piece]:
    """Several answers; if one is refused, nobody goes on with the others."""
    tasks = [asyncio.ensure_future(whole(member, ask, stops, metrics)) for ask in asks]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


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
