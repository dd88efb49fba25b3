"""POST /v1/chat/completions: a conversation in, the assistant's next turn out."""

import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any
from uuid import uuid4

from starlette.responses import Response

from minikin.engine.asking import Ask, Token
from minikin.serve.events import DONE, event, streamed
from minikin.serve.fields import ChatRequest
from minikin.serve.house import Served
from minikin.serve.metrics import Metrics
from minikin.serve.refusal import Refusal
from minikin.serve.speaking import Piece, speaking
from minikin.serve.whole import whole_answer


async def answer_chat(member: Served, asked: ChatRequest, metrics: Metrics) -> Response:
    """The whole answer, or a stream of it."""
    prompt = await member.prompt_of_chat(asked.messages, asked.prompt_field)
    most = asked.max_completion_tokens or asked.max_tokens
    told = (asked.top_logprobs or 0) if asked.logprobs else None
    if asked.top_logprobs and not asked.logprobs:
        raise Refusal(400, "top_logprobs: needs logprobs to be true", param="top_logprobs")
    asks = member.asks(prompt, asked, most, told, asked.n or 1)
    if asked.stream:
        return await streamed(_stream(member, asked, asks, metrics))
    with speaking(member, asks, asked.stop, metrics) as answers:
        pieces = await answers.whole()
    envelope = _envelope(member, "chat.completion", uuid4().hex)
    return await whole_answer(pieces, lambda: envelope | _answers(member, asked, pieces, len(prompt)))


def usage(prompt: int, completion: int) -> dict[str, Any]:
    """Tokens read and said."""
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": 0},
    }


def _answers(member: Served, asked: ChatRequest, pieces: Sequence[Piece], prompt: int) -> dict[str, Any]:
    choices = [
        {
            "index": index,
            "message": {"role": "assistant", "content": piece.text, "refusal": None},
            "logprobs": _logprobs(member, piece.tokens) if asked.logprobs else None,
            "finish_reason": piece.finish,
        }
        for index, piece in enumerate(pieces)
    ]
    return {"choices": choices, "usage": usage(prompt, sum(piece.count for piece in pieces))}


async def _stream(
    member: Served, asked: ChatRequest, asks: Sequence[Ask], metrics: Metrics
) -> AsyncGenerator[str, None]:
    """Chunks of all choices, as they come."""
    envelope = _envelope(member, "chat.completion.chunk", uuid4().hex)
    counted = asked.stream_options is not None and asked.stream_options.include_usage
    extra = {"usage": None} if counted else {}
    said, opened = 0, set[int]()
    with speaking(member, asks, asked.stop, metrics) as answers:
        async for index, piece in answers.pieces():
            if index not in opened:
                opened.add(index)
                yield event(envelope | _chunk(index, {"role": "assistant", "content": ""}, None) | extra)
            if piece.text or piece.tokens:
                logprobs = _logprobs(member, piece.tokens) if asked.logprobs else None
                yield event(envelope | _chunk(index, {"content": piece.text}, None, logprobs) | extra)
            if piece.finish:
                said += piece.count
                yield event(envelope | _chunk(index, {}, piece.finish) | extra)
    if counted:
        yield event(envelope | {"choices": [], "usage": usage(len(asks[0].prompt), said)})
    yield DONE


def _envelope(member: Served, kind: str, identity: str) -> dict[str, Any]:
    return {
        "id": f"chatcmpl-{identity}",
        "object": kind,
        "created": int(time.time()),
        "model": member.name,
        "system_fingerprint": f"minikin-{member.engine.name}",
    }


def _chunk(
    index: int, delta: Mapping[str, Any], finish: str | None, logprobs: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    return {"choices": [{"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": finish}]}


def _logprobs(member: Served, tokens: Sequence[Token]) -> dict[str, Any]:
    found = [
        _share(member, token.id, token.logprob)
        | {"top_logprobs": [_share(member, other, share) for other, share in token.likeliest]}
        for token in tokens
    ]
    return {"content": found, "refusal": None}


def _share(member: Served, token: int, logprob: float | None) -> dict[str, Any]:
    spelt = member.spelling.of(token)
    return {"token": spelt.text, "logprob": logprob, "bytes": spelt.bytes}
