"""Answers in one piece. Large ones are made beside the loop, which answers others meanwhile."""

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from starlette.responses import JSONResponse, Response

from minikin.serve.speaking import Piece

_MANY = 2000  # log probabilities: some ten milliseconds
_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))  # as JSONResponse writes


async def whole_answer(pieces: Sequence[Piece], made: Callable[[], Mapping[str, Any]]) -> Response:
    """What is made of pieces that were said."""
    told = sum(1 + len(token.likeliest) for piece in pieces for token in piece.tokens if token.logprob is not None)
    if told < _MANY:
        return JSONResponse(made())
    return Response(await asyncio.to_thread(_written, made), media_type="application/json")


def _written(made: Callable[[], Mapping[str, Any]]) -> bytes:
    # bit by bit, which takes longer: all at once, the loop would have to wait for it as well
    return "".join(_ENCODER.iterencode(made())).encode()
