"""POST /v1/completions: a text or token ids in, what follows out."""

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any
from uuid import uuid4

from starlette.responses import JSONResponse, Response

from minikin.engine.asking import Ask, Token
from minikin.serve.chat import usage
from minikin.serve.events import DONE, event, streamed
from minikin.serve.fields import CompletionRequest
from minikin.serve.house import Served
from minikin.serve.metrics import Metrics
from minikin.serve.speaking import spoken, whole

_DEFAULT = 16  # tokens, as OpenAI has it


async def answer_completion(member: Served, asked: CompletionRequest, metrics: Metrics) -> Response:
    """The whole answer, or a stream of it; a choice for every prompt and every one of n."""
    prompts = await _prompts(member, asked)
    most, seed = asked.max_tokens or _DEFAULT, asked.seed or 0
    asks = [
        member.ask(prompt, asked, most, asked.logprobs, seed + choice)
        for prompt in prompts
        for choice in range(asked.n or 1)
    ]
    if asked.stream:
        return await streamed(_stream(member, asked, asks, metrics))
    pieces = await asyncio.gather(*(whole(member, ask, asked.stop, metrics) for ask in asks))
    choices = [
        _choice(index, _echo(member, asked, ask) + piece.text, piece.finish, _logprobs(member, piece.tokens))
        for index, (ask, piece) in enumerate(zip(asks, pieces, strict=True))
    ]
    counted = usage(sum(map(len, prompts)), sum(piece.count for piece in pieces))
    return JSONResponse(_envelope(member) | {"choices": choices, "usage": counted})


async def _prompts(member: Served, asked: CompletionRequest) -> list[tuple[int, ...]]:
    given = asked.prompt
    if isinstance(given, str):
        return [await member.prompt_of_text(given)]
    if isinstance(given[0], int):
        return [tuple(given)]  # type: ignore[arg-type]
    return [await member.prompt_of_text(each) if isinstance(each, str) else tuple(each) for each in given]  # type: ignore[arg-type]


async def _stream(
    member: Served, asked: CompletionRequest, asks: Sequence[Ask], metrics: Metrics
) -> AsyncGenerator[str, None]:
    envelope, said = _envelope(member), 0
    for index, ask in enumerate(asks):
        before = _echo(member, asked, ask)
        async with aclosing(spoken(member, ask, asked.stop, metrics)) as pieces:
            async for piece in pieces:
                logprobs = _logprobs(member, piece.tokens)
                yield event(envelope | {"choices": [_choice(index, before + piece.text, piece.finish, logprobs)]})
                before, said = "", said + piece.count
    if asked.stream_options is not None and asked.stream_options.include_usage:
        yield event(envelope | {"choices": [], "usage": usage(sum(len(ask.prompt) for ask in asks), said)})
    yield DONE


def _echo(member: Served, asked: CompletionRequest, ask: Ask) -> str:
    return member.tokenizer.decode(ask.prompt) if asked.echo else ""


def _envelope(member: Served) -> dict[str, Any]:
    created = int(time.time())
    return {"id": f"cmpl-{uuid4().hex}", "object": "text_completion", "created": created, "model": member.name}


def _choice(index: int, text: str, finish: str | None, logprobs: dict[str, Any] | None) -> dict[str, Any]:
    return {"index": index, "text": text, "logprobs": logprobs, "finish_reason": finish}


def _logprobs(member: Served, tokens: Sequence[Token]) -> dict[str, Any] | None:
    if not tokens or tokens[0].logprob is None:
        return None
    decode = member.tokenizer.decode
    texts = [decode([token.id]) for token in tokens]
    return {
        "tokens": texts,
        "token_logprobs": [token.logprob for token in tokens],
        "top_logprobs": [{decode([other]): share for other, share in token.likeliest} for token in tokens],
        "text_offset": [sum(map(len, texts[:place])) for place in range(len(texts))],
    }
