"""The routes: who is served, how it fares, and the three ways to ask."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager, suppress
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from minikin.engine.asking import Load
from minikin.serve.chat import answer_chat
from minikin.serve.completions import answer_completion
from minikin.serve.fields import ChatRequest, CompletionRequest, ResponsesRequest, Settings
from minikin.serve.guard import OPEN, Guard
from minikin.serve.house import House, Served
from minikin.serve.metrics import Metrics
from minikin.serve.openapi import description, with_key
from minikin.serve.page import page_routes
from minikin.serve.reading import read_fields
from minikin.serve.refusal import Refusal, answer_fault, answer_refusal
from minikin.serve.responses import answer_response

_GONE = 499  # nobody is there to read it
_ASKED = (
    ("/v1/chat/completions", ChatRequest, answer_chat),
    ("/v1/completions", CompletionRequest, answer_completion),
    ("/v1/responses", ResponsesRequest, answer_response),
)


def application(house: House, hosts: Collection[str], key: str | None) -> ASGIApp:
    """The whole server, but for the connections."""
    metrics = Metrics(house)
    inner = Starlette(
        routes=[
            *page_routes(),
            Route("/health", _health(house, metrics)),
            Route("/metrics", _metrics(metrics)),
            Route("/openapi.json", _openapi(house, key)),
            Route("/v1/models", _models(house)),
            Route("/v1/models/{name}", _model(house)),
            *(Route(path, _asked(house, metrics, fields, how), methods=["POST"]) for path, fields, how in _ASKED),
        ],
        exception_handlers={Refusal: answer_refusal, HTTPException: _no_such, Exception: answer_fault},
        lifespan=_closing(house),
    )
    inner.router.redirect_slashes = False
    return Guard(inner, hosts, key, metrics, [route for route in inner.routes if isinstance(route, Route)])


def _asked(
    house: House,
    metrics: Metrics,
    fields: type[Settings],
    answer: Callable[[Served, Any, Metrics], Awaitable[Response]],
) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        try:
            given = await read_fields(request, fields)
            return await _while_there(request, answer(house.member(given.model), given, metrics))
        except ClientDisconnect:
            return Response(status_code=_GONE)

    return endpoint


async def _while_there(request: Request, answer: Awaitable[Response]) -> Response:
    """An answer, made as long as somebody waits for it."""
    making, leaving = asyncio.ensure_future(answer), asyncio.ensure_future(_gone(request))
    try:
        await asyncio.wait((making, leaving), return_when=asyncio.FIRST_COMPLETED)
        if making.done():
            return making.result()
        return Response(status_code=_GONE)
    finally:
        for task in (making, leaving):
            task.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await task


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _health(house: House, metrics: Metrics) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(_: Request) -> Response:
        loads = [(member, member.engine.load()) for member in house]
        members = {member.name: {"engine": member.engine.name} | _load(load) for member, load in loads}
        well = all(load.alive for _, load in loads)
        told = {"status": "ok" if well else "failed", "members": members, "resident_bytes": metrics.resident()}
        return JSONResponse(told, 200 if well else 503)

    return endpoint


def _load(load: Load) -> dict[str, Any]:
    free = max(0, load.slots - load.running)
    return {"running": load.running, "waiting": load.waiting, "slots": {"free": free, "busy": load.slots - free}}


def _metrics(metrics: Metrics) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(_: Request) -> Response:
        return Response(metrics.text(), media_type="text/plain; version=0.0.4")

    return endpoint


def _openapi(house: House, key: str | None) -> Callable[[Request], Awaitable[Response]]:
    told = description([member.name for member in house], {path: fields for path, fields, _ in _ASKED})
    if key is not None:
        told = with_key(told, OPEN)

    async def endpoint(_: Request) -> Response:
        return JSONResponse(told)

    return endpoint


def _models(house: House) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(_: Request) -> Response:
        return JSONResponse({"object": "list", "data": [_listed(member) for member in house]})

    return endpoint


def _model(house: House) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        return JSONResponse(_listed(house.member(request.path_params["name"])))

    return endpoint


def _listed(member: Served) -> dict[str, Any]:
    told = {"id": member.name, "object": "model", "created": member.since, "owned_by": "minikin"}
    return told | {"context_length": member.engine.context}


async def _no_such(request: Request, error: Exception) -> JSONResponse:
    """A path or method that there is not."""
    assert isinstance(error, HTTPException)
    said = f"{request.method} {request.url.path[:200]}: {error.detail}"
    refusal = Refusal(error.status_code, said, code="not_found" if error.status_code == 404 else None)
    return JSONResponse(refusal.body, refusal.status, dict(error.headers or {}))


def _closing(house: House) -> Callable[[Starlette], Any]:
    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        await asyncio.to_thread(house.close)

    return lifespan
