"""The chat page: a few files, read once and given from memory."""

from collections.abc import Awaitable, Callable
from importlib.resources import files

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

_FILES = {
    "/": ("page.html", "text/html"),
    "/page.css": ("page.css", "text/css"),
    "/page.js": ("page.js", "text/javascript"),
    "/asking.js": ("asking.js", "text/javascript"),
    "/key.js": ("key.js", "text/javascript"),
    "/show.js": ("show.js", "text/javascript"),
}

PAGE = tuple(_FILES)  # its paths


def page_routes() -> list[Route]:
    """A route a file."""
    room = files("minikin.serve").joinpath("static")
    return [Route(path, _given(room.joinpath(name).read_bytes(), kind)) for path, (name, kind) in _FILES.items()]


def _given(content: bytes, kind: str) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(_: Request) -> Response:
        return Response(content, media_type=f"{kind}; charset=utf-8", headers={"Cache-Control": "no-cache"})

    return endpoint
