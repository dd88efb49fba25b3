"""The connections: a socket of our own, deadlines for whoever sends slowly, and an orderly end."""

import asyncio
import logging
import resource
import socket
from collections.abc import Callable, Collection
from typing import Any, final

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from minikin.base.errors import EngineError
from minikin.serve.guard import LARGEST_HEAD
from minikin.serve.house import House
from minikin.serve.routes import application

LOOPBACK = ("127.0.0.1", "::1", "localhost")
_RECEIPT = 8.0  # seconds that a request may take to arrive
_MOST_CONNECTIONS, _FILES, _BACKLOG = 4000, 8192, 2048
_LAST_WORDS = 30  # seconds that running answers have to end when the server is asked to


def bound(host: str, port: int) -> socket.socket:
    """A socket that listens; raises EngineError if the address cannot be had."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(family, kind, protocol)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise EngineError(f"{host}:{port}: cannot be listened on ({reason}); choose another: --port") from error
    return listening


def serve(
    house: House, listening: socket.socket, hosts: Collection[str], key: str | None, ready: Callable[[], None]
) -> None:
    """Serve until SIGINT or SIGTERM; what is being said then may still be said to its end."""
    _allow_many_files()
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
    config = uvicorn.Config(
        application(house, hosts, key),
        http=_Timely,
        ws="none",
        loop="asyncio",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=_BACKLOG,
        limit_concurrency=_MOST_CONNECTIONS,
        h11_max_incomplete_event_size=LARGEST_HEAD,
        timeout_graceful_shutdown=_LAST_WORDS,
    )
    server = _Announced(config)
    server.ready = ready
    server.run(sockets=[listening])


class _Announced(uvicorn.Server):
    """Tells when it listens."""

    ready: Callable[[], None]

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready()


@final
class _Timely(H11Protocol):
    """Drops a connection whose request does not arrive in time: uvicorn itself waits for ever."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._arm()

    def data_received(self, data: bytes) -> None:
        if self._deadline is None and self.conn.their_state is h11.IDLE:
            self._arm()
        super().data_received(data)
        if self.conn.their_state not in (h11.IDLE, h11.SEND_BODY):
            self._disarm()

    def connection_lost(self, exc: Exception | None) -> None:
        self._disarm()
        super().connection_lost(exc)

    def _arm(self) -> None:
        self._deadline = self.loop.call_later(_RECEIPT, self.transport.abort)

    def _disarm(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


def _allow_many_files() -> None:
    """As many connections as the system lets this process have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = _FILES if hard == resource.RLIM_INFINITY else min(hard, _FILES)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
