"""POST /v1/responses: OpenAI's newer way to ask. Nothing is stored."""

import time
from collections.abc import AsyncGenerator
from typing import Any
from uuid import uuid4

from starlette.responses import JSONResponse, Response

from minikin.engine.asking import Ask
from minikin.serve.events import event, streamed
from minikin.serve.fields import ChatMessage, ResponsesRequest
from minikin.serve.house import Served
from minikin.serve.metrics import Metrics
from minikin.serve.speaking import Piece, speaking


async def answer_response(member: Served, asked: ResponsesRequest, metrics: Metrics) -> Response:
    """The whole response, or its events."""
    prompt = await member.prompt_of_chat(_messages(asked), asked.prompt_field)
    (ask,) = member.asks(prompt, asked, asked.max_output_tokens, None, 1)
    begun = _begun(member, asked)
    if asked.stream:
        return await streamed(_stream(member, asked, ask, begun, metrics))
    with speaking(member, [ask], asked.stop, metrics) as answers:
        (piece,) = await answers.whole()
    return JSONResponse(_ended(begun, f"msg_{uuid4().hex}", piece, len(prompt)))


def _messages(asked: ResponsesRequest) -> list[ChatMessage]:
    told = [ChatMessage(role="system", content=asked.instructions)] if asked.instructions else []
    if isinstance(asked.input, str):
        return [*told, ChatMessage(role="user", content=asked.input)]
    return [*told, *(ChatMessage(role=message.role, content=message.content) for message in asked.input)]


async def _stream(
    member: Served, asked: ResponsesRequest, ask: Ask, begun: dict[str, Any], metrics: Metrics
) -> AsyncGenerator[str, None]:
    """The events of a response, numbered."""
    identity, text, number = f"msg_{uuid4().hex}", "", 0

    def told(kind: str, **fields: Any) -> str:
        nonlocal number
        number += 1
        return event({"type": kind, "sequence_number": number - 1} | fields, kind)

    place = {"item_id": identity, "output_index": 0, "content_index": 0}
    with speaking(member, [ask], asked.stop, metrics) as answers:
        async for _, piece in answers.pieces():
            if not number:
                yield told("response.created", response=begun)
                yield told("response.in_progress", response=begun)
                yield told("response.output_item.added", output_index=0, item=_item(identity, None, "in_progress"))
                yield told("response.content_part.added", **place, part=_part(""))
            if piece.text:
                text += piece.text
                yield told("response.output_text.delta", **place, delta=piece.text, logprobs=[])
            if piece.finish:
                ended = _ended(
                    begun, identity, Piece(text=text, finish=piece.finish, count=piece.count), len(ask.prompt)
                )
                yield told("response.output_text.done", **place, text=text, logprobs=[])
                yield told("response.content_part.done", **place, part=_part(text))
                yield told("response.output_item.done", output_index=0, item=ended["output"][0])
                yield told(f"response.{ended['status']}", response=ended)


def _begun(member: Served, asked: ResponsesRequest) -> dict[str, Any]:
    return {
        "id": f"resp_{uuid4().hex}",
        "object": "response",
        "created_at": int(time.time()),
        "status": "in_progress",
        "error": None,
        "incomplete_details": None,
        "instructions": asked.instructions,
        "max_output_tokens": asked.max_output_tokens,
        "metadata": {},
        "model": member.name,
        "output": [],
        "parallel_tool_calls": False,
        "previous_response_id": None,
        "store": False,
        "temperature": asked.temperature or 0.0,
        "text": {"format": {"type": "text"}},
        "tool_choice": "none",
        "tools": [],
        "top_p": 1.0 if asked.top_p is None else asked.top_p,
        "truncation": "disabled",
        "usage": None,
    }


def _ended(begun: dict[str, Any], identity: str, piece: Piece, prompt: int) -> dict[str, Any]:
    complete = piece.finish == "stop"
    status = "completed" if complete else "incomplete"
    return begun | {
        "status": status,
        "incomplete_details": None if complete else {"reason": "max_output_tokens"},
        "output": [_item(identity, piece.text, status)],
        "usage": {
            "input_tokens": prompt,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": piece.count,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": prompt + piece.count,
        },
    }


def _item(identity: str, text: str | None, status: str) -> dict[str, Any]:
    content = [] if text is None else [_part(text)]
    return {"id": identity, "type": "message", "role": "assistant", "status": status, "content": content}


def _part(text: str) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
