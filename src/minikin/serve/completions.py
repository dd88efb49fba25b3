"""POST /v1/completions: a text or token ids in, what follows out."""

import time
from collections.abc import AsyncGenerator, Sequence
from itertools import accumulate
from typing import Any
from uuid import uuid4

from starlette.responses import Response

from minikin.engine.asking import Ask, Token
from minikin.serve.chat import usage
from minikin.serve.events import DONE, event, streamed
from minikin.serve.fields import CompletionRequest
from minikin.serve.house import Served
from minikin.serve.metrics import Metrics
from minikin.serve.refusal import Refusal
from minikin.serve.speaking import Piece, speaking
from minikin.serve.whole import whole_answer

_DEFAULT = 16  # tokens, as OpenAI has it


async def answer_completion(member: Served, asked: CompletionRequest, metrics: Metrics) -> Response:
    """The whole answer, or a stream of it; a choice for every prompt and every one of n."""
    prompts = await _prompts(member, asked)
    if asked.echo and asked.logprobs is not None:
        said = "echo: the prompt's own log probabilities are not told; leave out echo or logprobs"
        raise Refusal(400, said, param="echo")
    most, count = asked.max_tokens or _DEFAULT, asked.n or 1
    asks = [ask for prompt in prompts for ask in member.asks(prompt, asked, most, asked.logprobs, count)]
    read = sum(map(len, prompts))
    if asked.stream:
        return await streamed(_stream(member, asked, asks, read, metrics))
    with speaking(member, asks, asked.stop, metrics) as answers:
        pieces = await answers.whole()
    told = _envelope(member) | {"usage": usage(read, sum(piece.count for piece in pieces))}
    return await whole_answer(pieces, lambda: told | {"choices": _choices(member, asked, asks, pieces)})


async def _prompts(member: Served, asked: CompletionRequest) -> list[tuple[int, ...]]:
    given = asked.prompt
    if isinstance(given, str):
        return [await member.prompt_of_text(given)]
    if isinstance(given[0], int):
        return [tuple(given)]  # type: ignore[arg-type]
    return [await member.prompt_of_text(each) if isinstance(each, str) else tuple(each) for each in given]  # type: ignore[arg-type]


def _choices(
    member: Served, asked: CompletionRequest, asks: Sequence[Ask], pieces: Sequence[Piece]
) -> list[dict[str, Any]]:
    return [
        _choice(index, _echo(member, asked, ask) + piece.text, piece.finish, _logprobs(member, asked, piece.tokens, 0))
        for index, (ask, piece) in enumerate(zip(asks, pieces, strict=True))
    ]


async def _stream(
    member: Served, asked: CompletionRequest, asks: Sequence[Ask], read: int, metrics: Metrics
) -> AsyncGenerator[str, None]:
    envelope, said, offsets = _envelope(member), 0, [0] * len(asks)
    before = [_echo(member, asked, ask) for ask in asks]
    counted = asked.stream_options is not None and asked.stream_options.include_usage
    extra = {"usage": None} if counted else {}
    with speaking(member, asks, asked.stop, metrics) as answers:
        async for index, piece in answers.pieces():
            logprobs = _logprobs(member, asked, piece.tokens, offsets[index])
            choice = _choice(index, before[index] + piece.text, piece.finish, logprobs)
            yield event(envelope | {"choices": [choice]} | extra)
            before[index], said = "", said + piece.count
            # a stop sequence's beginning is held back, but its tokens are not
            offsets[index] += sum(len(token.text) for token in piece.tokens)
    if counted:
        yield event(envelope | {"choices": [], "usage": usage(read, said)})
    yield DONE


def _echo(member: Served, asked: CompletionRequest, ask: Ask) -> str:
    return member.tokenizer.decode(ask.prompt) if asked.echo else ""


def _envelope(member: Served) -> dict[str, Any]:
    created = int(time.time())
    return {"id": f"cmpl-{uuid4().hex}", "object": "text_completion", "created": created, "model": member.name}


def _choice(index: int, text: str, finish: str | None, logprobs: dict[str, Any] | None) -> dict[str, Any]:
    return {"index": index, "text": text, "logprobs": logprobs, "finish_reason": finish}


def _logprobs(member: Served, asked: CompletionRequest, tokens: Sequence[Token], offset: int) -> dict[str, Any] | None:
    """As OpenAI had them; `offset` characters were said before."""
    if asked.logprobs is None:
        return None
    before = accumulate((len(token.text) for token in tokens), initial=offset)
    return {
        "tokens": [member.spelling.of(token.id).name for token in tokens],
        "token_logprobs": [token.logprob for token in tokens],
        "top_logprobs": [_top(member, token) for token in tokens],
        "text_offset": list(before)[:-1],
    }


def _top(member: Served, token: Token) -> dict[str, float | None]:
    """The likeliest, and the one that was said; of those that are called the same, the likelier."""
    found: dict[str, float | None] = {}
    for other, share in (*token.likeliest, (token.id, token.logprob)):
        found.setdefault(member.spelling.of(other).name, share)
    return found
