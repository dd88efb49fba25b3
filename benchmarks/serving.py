"""What the benchmarks of the server share: a server in a process of its own, and clients that cost little.

All clients are one process, on the same cores as the server. `--engine torch` or `llama.cpp` and `--threads N` choose
how it answers.
"""

import argparse
import asyncio
import contextlib
import json
import math
import re
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator, Iterator, Sequence
from pathlib import Path
from queue import Queue
from threading import Thread
from typing import Any
from urllib.parse import urlsplit

import psutil
from conditions import options

QUESTIONS = (
    "Translate to German: Tomorrow Otto will give three blue hats to Jakob.",
    "Good morning, I need a lamp.",
    "Summarize: Maria was there too. Nobody was in a hurry. There was a lot going on in the shop last night.",
)
_PARTING = 60  # seconds that the server has to end
_MOST_LINES = 40  # of what it says
ENDLESS = {"logit_bias": {"1": -100, "5": -100}}  # no end token: an answer goes on to its limit


def arguments(told: str | None) -> argparse.ArgumentParser:
    """What every one of them takes."""
    asked = options(told)
    asked.add_argument("member", type=Path, help="a member's folder, such as families/village/nano")
    asked.add_argument("--engine", default="auto", help="torch, llama.cpp, or auto: llama.cpp where it runs")
    asked.add_argument("--threads", type=int, default=2, help="that the engine computes with (2)")
    return asked


@contextlib.contextmanager
def served(asked: argparse.Namespace, slots: int = 8, queue: int = 64) -> Iterator[tuple[str, psutil.Process]]:
    """The address of a running server, and its process."""
    words = ["serve", str(asked.member), "--port", "0", "--engine", asked.engine]
    words += ["--threads", str(asked.threads), "--slots", str(slots), "--queue", str(queue)]
    with running([sys.executable, "-m", "minikin", *words]) as found:
        yield found


@contextlib.contextmanager
def running(command: Sequence[str]) -> Iterator[tuple[str, psutil.Process]]:
    """The address that a server tells, and its process; in the end, what else it said is printed.

    That is read as it comes: a server whose words nobody reads stands still once the pipe is full. Raises SystemExit
    if it does not start, or has died when it is asked to end.
    """
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, errors="replace")
    address, said = Queue[str | None](), list[str]()
    reading = Thread(target=_read, args=(process, address, said))
    reading.start()
    died = None
    try:
        if (found := address.get()) is None:
            raise SystemExit("the server did not start")
        yield found, psutil.Process(process.pid)
        died = process.poll()
    finally:
        _end(process)
        reading.join()
        if said:
            left_out = f"… and {len(said) - _MOST_LINES} more lines\n" if len(said) > _MOST_LINES else ""
            print(f"the server said:\n{''.join(said[:_MOST_LINES])}{left_out}", end="")
    if died is not None:
        raise SystemExit(f"the server died (exit status {died})")


def _read(process: subprocess.Popen[str], address: Queue[str | None], said: list[str]) -> None:
    """All that it says; what came before the address matters only if there is none."""
    assert process.stderr is not None
    with process.stderr:
        for line in process.stderr:
            said.append(line)
            if found := re.search(r"serving at (http\S+)", line):
                said.clear()
                address.put(found.group(1))
    address.put(None)


def _end(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(_PARTING)
    except subprocess.TimeoutExpired:
        print(f"the server did not end within {_PARTING} s, and was killed")
        process.kill()
        process.wait()


def body(member: Path, question: str, most: int, **more: Any) -> dict[str, Any]:
    """A question whose answer is streamed."""
    messages = [{"role": "user", "content": question}]
    told = {"model": member.resolve().name, "messages": messages, "stream": True, "max_tokens": most, "temperature": 0}
    return told | more


class Stream:
    """An answer as server-sent events, line by line; raises ValueError where it breaks off, so that none counts as one.

    It breaks off with an event of an `error`, or by ending before it has said that it is done.
    """

    def __init__(self) -> None:
        self._done = False

    def event(self, line: bytes) -> Any | None:
        """What a line tells; None if it tells nothing."""
        name, _, value = line.strip().partition(b": ")
        if name == b"error":  # so does llama.cpp tell of one
            raise ValueError(f"broken off: {value.decode(errors='replace')}")
        if name != b"data":
            return None
        if value == b"[DONE]":
            self._done = True
            return None
        told = json.loads(value)
        if "error" in told:
            raise ValueError(f"broken off: {told['error']}")
        return told

    def end(self) -> None:
        """There are no more lines."""
        if not self._done:
            raise ValueError("broken off: the stream ended without [DONE]")


def read(content: bytes) -> list[Any]:
    """The events of an answer that has come as a whole; raises ValueError as a stream does."""
    stream = Stream()
    found = [event for line in content.splitlines() if (event := stream.event(line)) is not None]
    stream.end()
    return found


async def events(address: str, asked: dict[str, Any], key: str = "") -> AsyncGenerator[Any, None]:
    """The events of a streamed answer, over a connection of its own; raises ValueError if it is refused or breaks off,
    and OSError if the connection does."""
    where = urlsplit(address)
    reader, writer = await asyncio.open_connection(where.hostname, where.port)
    try:
        content = json.dumps(asked).encode()
        head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\n"
        head += f"Content-Type: application/json\r\nConnection: close\r\nContent-Length: {len(content)}\r\n\r\n"
        writer.write(head.encode() + content)
        status = await reader.readline()
        if b" 200 " not in status:
            raise ValueError(status.decode(errors="replace").strip() or "nothing was answered")
        stream = Stream()
        while line := await reader.readline():
            if (event := stream.event(line)) is not None:
                yield event
        stream.end()
    finally:
        writer.close()


def text_of(event: Any) -> str:
    """What an event says."""
    return (event["choices"][0]["delta"].get("content") or "") if event.get("choices") else ""


def memory(process: psutil.Process) -> float:
    """Megabytes of a process and of those that it started."""
    return sum(each.memory_info().rss for each in (process, *process.children())) / 1e6


def share_within(values: Sequence[float], share: float) -> float:
    """The least of them that so many of them do not exceed: 0.5 is the median, 1 the largest."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]
