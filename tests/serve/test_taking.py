"""Who asks and takes nothing of the answer is dropped, however small it is; who takes it slowly gets all of it."""

import json
import re
import socket
import time

import httpx2
import psutil
import pytest
from servers import ENDS, serving, two_members

SAY = {"model": "large", "messages": [{"role": "user", "content": "Say something."}], "logit_bias": ENDS}
LIMIT = 1.0  # seconds in which something must be taken, here
# a system that keeps next to nothing for who does not read, and an engine that takes its time
BEFORE = f"""
import socket, time
import minikin.serve.server as server
from minikin.model.step import Step

listened, stepped = server.bound, Step.__call__

def bound(*where):
    listening = listened(*where)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    return listening

def slow(*given):
    time.sleep(0.04)
    return stepped(*given)

server.bound, server._TAKEN, Step.__call__ = bound, {LIMIT}, slow
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = two_members(tmp_path_factory.mktemp("family"))
    with serving(folder, "--slots", "4", "--queue", "8", before=BEFORE) as (address, process):
        yield address, process


def asking(address, method, path, asked=None):
    """A connection that has asked, and of which the system keeps next to nothing that is not read."""
    host, port = re.fullmatch(r"http://(.*):(\d+)", address).groups()
    body = b"" if asked is None else json.dumps(asked).encode()
    head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n"
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.connect((host, int(port)))
    connection.sendall(f"{head}Content-Type: application/json\r\n\r\n".encode() + body)
    return connection


def held(process, connection):
    """Whether the server has a connection open."""
    port = connection.getsockname()[1]
    return any(each.raddr and each.raddr.port == port for each in psutil.Process(process.pid).net_connections("tcp"))


def until(condition, seconds):
    begun = time.monotonic()
    while not condition():
        assert time.monotonic() - begun < seconds
        time.sleep(0.02)
    return time.monotonic() - begun


def taken(connection, pause=0.0):
    """All that comes until the other side ends it, or the answer is whole, a little at a time."""
    found, whole = b"", None
    connection.settimeout(20)
    while whole is None or len(found) < whole:
        try:
            more = connection.recv(2048)
        except ConnectionResetError:
            break
        if not more:
            break
        found += more
        if whole is None and (head := re.search(rb"content-length: (\d+)\r\n.*?\r\n\r\n", found, re.DOTALL)):
            whole = head.end() + int(head[1])
        time.sleep(pause)
    return found, whole


def running(address):
    return httpx2.get(f"{address}/health").json()["members"]["large"]["running"]


# some 20 KB, and several hundreds: less and more than uvicorn would keep for who does not read
SIZES = {"small": ({"max_tokens": 12}, 10_000, 60_000), "large": ({"max_tokens": 60, "n": 4}, 200_000, 900_000)}


@pytest.mark.parametrize("size", SIZES)
def test_who_never_reads_is_dropped_however_small_the_answer_is(server, size):
    address, process = server
    more, least, most = SIZES[size]
    with asking(address, "POST", "/v1/chat/completions", SAY | more | {"logprobs": True, "top_logprobs": 20}) as asked:
        until(lambda: running(address), 5)
        until(lambda: not running(address), 20)
        assert held(process, asked)
        assert until(lambda: not held(process, asked), LIMIT + 2) > LIMIT / 2
        found, whole = taken(asked)
        assert least < whole < most
        assert len(found) < whole


def test_a_slow_reader_gets_the_whole_answer(server):
    address, _ = server
    more, least, _ = SIZES["large"]
    with asking(address, "POST", "/v1/chat/completions", SAY | more | {"logprobs": True, "top_logprobs": 20}) as asked:
        begun = time.monotonic()
        found, whole = taken(asked, pause=0.02)
        assert time.monotonic() - begun > 2 * LIMIT
        assert len(found) == whole > least
    choices = json.loads(found.partition(b"\r\n\r\n")[2])["choices"]
    assert [choice["finish_reason"] for choice in choices] == ["length"] * 4


def test_a_stream_that_nobody_reads_frees_its_place(server):
    address, process = server
    with asking(address, "POST", "/v1/chat/completions", SAY | {"stream": True}) as asked:
        until(lambda: running(address), 5)
        # all thousand tokens would take forty seconds and more
        until(lambda: not running(address), 10)
        assert not held(process, asked)
