"""What every request passes: is there room for it, is this our name, and may they ask."""

import hmac
from collections.abc import Collection
from typing import final

from starlette.datastructures import Headers, MutableHeaders
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from minikin.serve.metrics import Metrics
from minikin.serve.page import PAGE
from minikin.serve.refusal import Refusal

OPEN = ("/health", *PAGE)  # whoever asks
LARGEST_HEAD = 16 << 10  # bytes of headers
_MOST_AT_ONCE = 4000  # requests: some memory and a file each
_CONTENT = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:"
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": f"{_CONTENT}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
}


@final
class Guard:
    """Around the whole application. `hosts` are the names that it goes by; without a key, anybody may ask.

    Requests are counted by the `routes` that there are; all others are one, or anybody could fill the memory with them.
    """

    def __init__(
        self, app: ASGIApp, hosts: Collection[str], key: str | None, metrics: Metrics, routes: Collection[Route]
    ) -> None:
        self._app, self._hosts, self._key, self._metrics = app, frozenset(hosts), key, metrics
        self._routes, self._inside = tuple(routes), 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        watched, refusal = self._watched(scope, send), self._refusal(scope)
        self._inside += 1
        try:
            await (refusal.response() if refusal else self._app)(scope, receive, watched)
        finally:
            self._inside -= 1

    def _refusal(self, scope: Scope) -> Refusal | None:
        if self._inside >= _MOST_AT_ONCE:
            said = f"{self._inside:,} requests are being answered already; ask again later"
            return Refusal(503, said, kind="server_error", code="overloaded")
        headers = Headers(scope=scope)
        if sum(len(name) + len(value) for name, value in headers.raw) > LARGEST_HEAD:
            return Refusal(431, f"the headers are larger than {LARGEST_HEAD:,} bytes")
        # a page on another name that resolves to this address is not ours
        if _name(headers.get("host", "")) not in self._hosts:
            return Refusal(421, "this server goes by another name; see --allow-host", code="misdirected_request")
        if self._key is None or scope["path"] in OPEN:
            return None
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and hmac.compare_digest(given.strip(" \t").encode("latin-1"), self._key.encode()):
            return None
        return Refusal(
            401, "a key is needed: Authorization: Bearer KEY", kind="authentication_error", code="invalid_api_key"
        )

    def _watched(self, scope: Scope, send: Send) -> Send:
        async def watched(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
                matched = (route.path for route in self._routes if route.path_regex.match(scope["path"]))
                self._metrics.requests.labels(next(matched, "other"), str(message["status"])).inc()
            await send(message)

        return watched


def _name(host: str) -> str:
    """A Host without its port: example.org:8000, 127.0.0.1:8000, [::1]:8000."""
    name, colon, port = host.strip().lower().rpartition(":")
    return name.strip("[]") if colon and port.isdecimal() else host.strip().lower().strip("[]")
