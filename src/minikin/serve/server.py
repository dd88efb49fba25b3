"""The connections: a socket of our own, deadlines for whoever sends slowly, and an orderly end."""

import asyncio
import logging
import resource
import socket
from collections.abc import Callable, Collection
from contextlib import ExitStack
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
_TAKEN, _LOOK = 10.0, 0.25  # seconds in which something of an answer must be taken, and after which that is looked at
_FILES, _BACKLOG = 8192, 2048
# seconds that running answers have to end when the server is asked to, and that it takes to tell those that have not
_LAST_WORDS, _PARTING = 30, 5


def bound(host: str, port: int) -> socket.socket:
    """A socket that listens; raises EngineError if the address cannot be had."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with ExitStack() as stack:
            listening = stack.enter_context(socket.socket(family, kind, protocol))
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(address)
            listening.listen(_BACKLOG)  # now, or another process might while members are read
            stack.pop_all()
            return listening
    except (OSError, OverflowError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise EngineError(f"{host}:{port}: cannot be listened on ({reason}); choose another: --port") from error


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
        h11_max_incomplete_event_size=LARGEST_HEAD,
        timeout_graceful_shutdown=_LAST_WORDS + _PARTING,
    )
    server = _Announced(config)
    server.ready, server.house = ready, house
    server.run(sockets=[listening])


class _Announced(uvicorn.Server):
    """Tells when it listens; in the end, breaks off with a word what would take too long."""

    ready: Callable[[], None]
    house: House

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        loop = asyncio.get_running_loop()
        breaking = loop.call_later(_LAST_WORDS, loop.run_in_executor, None, self.house.close)
        try:
            await super().shutdown(sockets)
        finally:
            breaking.cancel()


@final
class _Timely(H11Protocol):
    """Drops connections whose request does not arrive in time, or whose answer is not taken: uvicorn waits for ever."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._sending, self._taking = _Deadline(self, _RECEIPT), _Takes(self, _TAKEN)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        transport.set_write_buffer_limits(0)  # whatever the system does not take at once is waited for, however little
        self._sending.begin()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._look()

    def on_response_complete(self) -> None:
        super().on_response_complete()  # it may begin with a request that has come already, in part
        self._look()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._taking.begin()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._taking.end()

    def connection_lost(self, exc: Exception | None) -> None:
        self._sending.end()
        self._taking.end()
        super().connection_lost(exc)

    def _look(self) -> None:
        """Whether a request has begun to arrive and is not all there."""
        begun, _ = self.conn.trailing_data
        if self.conn.their_state is h11.SEND_BODY or (self.conn.their_state is h11.IDLE and begun):
            self._sending.begin()
        else:
            self._sending.end()


@final
class _Deadline:
    """Ends a connection after some seconds, unless it is ended itself before."""

    def __init__(self, protocol: H11Protocol, seconds: float) -> None:
        self._protocol, self._seconds = protocol, seconds
        self._timer: asyncio.TimerHandle | None = None

    def begin(self) -> None:
        """From now on, if it has not begun."""
        if self._timer is None:
            self._timer = self._protocol.loop.call_later(self._seconds, self._protocol.transport.abort)

    def end(self) -> None:
        """There is no hurry any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


@final
class _Takes:
    """Ends a connection that took nothing of what waits for it for some seconds; who takes a little at a time may."""

    def __init__(self, protocol: H11Protocol, seconds: float) -> None:
        self._protocol, self._seconds = protocol, seconds
        self._timer: asyncio.TimerHandle | None = None
        self._left, self._since = 0, 0.0

    def begin(self) -> None:
        """Something waits from now on."""
        self._left, self._since = self._protocol.transport.get_write_buffer_size(), self._protocol.loop.time()
        self._look_again()

    def end(self) -> None:
        """Everything was taken, or the connection is no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look_again(self) -> None:
        self.end()
        self._timer = self._protocol.loop.call_later(_LOOK, self._look)

    def _look(self) -> None:
        left, now = self._protocol.transport.get_write_buffer_size(), self._protocol.loop.time()
        if left < self._left:
            self._since = now
        self._left = left
        if now - self._since >= self._seconds:
            self._protocol.transport.abort()
        else:
            self._look_again()


def _allow_many_files() -> None:
    """As many connections as the system lets this process have."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = _FILES if hard == resource.RLIM_INFINITY else min(hard, _FILES)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
