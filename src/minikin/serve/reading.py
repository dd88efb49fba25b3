"""Requests from anybody: bodies of bounded size, JSON that is an object, fields of the right type and size."""

import json
from typing import Any, NoReturn, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.requests import Request

from minikin.serve.refusal import Refusal

LARGEST_BODY = 1 << 20  # bytes
_KINDS = {"str", "int", "float", "bool", "dict", "list"}

Fields = TypeVar("Fields", bound=BaseModel)


async def read_fields(request: Request, fields: type[Fields]) -> Fields:
    """The fields of a request; raises Refusal if they cannot be had."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise Refusal(415, f"Content-Type is {kind or 'not given'}; send application/json")
    value = parsed(await _body(request))
    try:
        return fields.model_validate(value)
    except ValidationError as error:
        where, message = _first(error)
        raise Refusal(400, f"{where or 'the request'}: {message}", param=where or None) from error


def parsed(body: bytes) -> dict[str, Any]:
    """A JSON object; raises Refusal for anything else, however strange."""
    try:
        value = json.loads(body.decode("utf-8"), parse_constant=_no_number)
        if b"\\u" in body:  # half of a character, written as \\ud800, is no text
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except RecursionError as error:
        raise Refusal(400, "the body is nested too deeply") from error
    except ValueError as error:  # bad JSON, bad UTF-8, half characters, numbers of thousands of digits
        raise Refusal(400, f"the body is not valid JSON ({error})") from error
    if not isinstance(value, dict):
        raise Refusal(400, f"the body is JSON, but no object: found {type(value).__name__}")
    return value


def _first(error: ValidationError) -> tuple[str, str]:
    """Where a request is wrong, and how. Of a field that may be several things, what it is most like is told.

    That is the one that went wrong in more than its type, then the one that was read the furthest.
    """
    found = error.errors(include_url=False, include_context=False)
    alike = [each for each in found if each["loc"][:1] == found[0]["loc"][:1]]
    told = max(alike, key=lambda each: (not each["type"].endswith("_type"), len(each["loc"])))
    # without the names of what it may be, which no client knows
    return ".".join(str(part) for part in told["loc"] if isinstance(part, int) or _is_field(part)), told["msg"]


def _is_field(part: str) -> bool:
    return part.isidentifier() and part not in _KINDS


async def _body(request: Request) -> bytes:
    declared = request.headers.get("content-length", "0")
    if not declared.isdecimal() or int(declared[:20]) > LARGEST_BODY:
        _too_large()
    pieces, size = [], 0
    async for piece in request.stream():
        pieces.append(piece)
        size += len(piece)
        if size > LARGEST_BODY:
            _too_large()
    return b"".join(pieces)


def _too_large() -> NoReturn:
    raise Refusal(413, f"the body is larger than {LARGEST_BODY:,} bytes; shorten it", code="request_too_large")


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")
