"""Server-sent events, and a stream that ends well whatever becomes of the answer."""

import json
from collections.abc import AsyncGenerator, Mapping
from typing import Any, final

from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from minikin.serve.refusal import Refusal

DONE = "data: [DONE]\n\n"
_HEADERS = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}


def event(value: Mapping[str, Any], name: str | None = None) -> str:
    """One event."""
    told = f"data: {json.dumps(value, ensure_ascii=False, separators=(',', ':'))}\n\n"
    return f"event: {name}\n{told}" if name else told


async def streamed(events: AsyncGenerator[str, None]) -> StreamingResponse:
    """A stream whose first event is there already: what is refused at once is refused with its status."""
    return _Stream(await anext(events), events)


@final
class _Stream(StreamingResponse):
    """Closes its events however it ends, also where it was never begun."""

    def __init__(self, first: str, events: AsyncGenerator[str, None]) -> None:
        super().__init__(_told(first, events), media_type="text/event-stream", headers=_HEADERS)
        self._events = events

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self._events.aclose()


async def _told(first: str, events: AsyncGenerator[str, None]) -> AsyncGenerator[str, None]:
    try:
        yield first
        async for each in events:
            yield each
    except Refusal as refusal:  # the status is said already, so the reason comes as an event
        yield event(refusal.body)
