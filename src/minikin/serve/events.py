"""Server-sent events, and a stream that ends well whatever becomes of the answer."""

import json
from collections.abc import AsyncGenerator, Mapping
from typing import Any

from starlette.responses import StreamingResponse

from minikin.serve.refusal import Refusal

DONE = "data: [DONE]\n\n"
_HEADERS = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}


def event(value: Mapping[str, Any], name: str | None = None) -> str:
    """One event."""
    told = f"data: {json.dumps(value, ensure_ascii=False, separators=(',', ':'))}\n\n"
    return f"event: {name}\n{told}" if name else told


async def streamed(events: AsyncGenerator[str, None]) -> StreamingResponse:
    """A stream whose first event is there already: what is refused at once is refused with its status."""
    first = await anext(events)
    return StreamingResponse(_guarded(first, events), media_type="text/event-stream", headers=_HEADERS)


async def _guarded(first: str, events: AsyncGenerator[str, None]) -> AsyncGenerator[str, None]:
    try:
        yield first
        async for each in events:
            yield each
    except Refusal as refusal:  # the status is said already, so the reason comes as an event
        yield event(refusal.body)
    finally:
        await events.aclose()
