"""Claim: who sends nothing is dropped, and keeps nobody waiting.

    python benchmarks/serve_slow.py MEMBER [--engine NAME] [--threads N]

1,000 connections send the beginning of a request and no more, half of them of a head and half of a body, while a chat
streams.
"""

import asyncio
import contextlib
import socket
import time
from urllib.parse import urlsplit

from conditions import conditions
from health import Health
from serving import QUESTIONS, arguments, body, events, served

_SILENT = 1000
_HEAD = b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\n"
_BODY = _HEAD + b"Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n{"


def main() -> None:
    """Tell when the last was dropped."""
    asked = arguments(__doc__).parse_args()
    n = f"{_SILENT:,} connections"
    print(conditions(threads=asked.threads, n=n, seed="nothing is drawn"), flush=True)
    with served(asked) as (address, _), Health(address) as health:
        where, begun = urlsplit(address), time.monotonic()
        silent = [socket.create_connection((where.hostname or "", where.port or 0)) for _ in range(_SILENT)]
        for number, connection in enumerate(silent):
            connection.sendall(_BODY if number % 2 else _HEAD)

        async def streamed() -> int:
            return sum([1 async for _ in events(address, body(asked.member, QUESTIONS[0], 64))])

        pieces, spoken = asyncio.run(streamed()), time.monotonic() - begun
        for connection in silent:
            connection.settimeout(20)
            with contextlib.suppress(ConnectionResetError):
                assert not connection.recv(1000), "a request that never came was answered"
            connection.close()
        gone = time.monotonic() - begun
    print(f"{_SILENT} silent connections were gone after {gone:.1f} s")
    print(f"a chat of {pieces} events beside them was over after {spoken:.1f} s")
    print(health.told())


if __name__ == "__main__":
    main()
