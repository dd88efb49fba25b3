"""Whatever anybody sends, the server answers with the right status, and goes on."""

import json
import os
import random
import re
import signal
import socket
import statistics
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress

import httpx2
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from servers import ENDS, serving, two_members

SAY = {"model": "large", "messages": [{"role": "user", "content": "Say something."}]}
ENDLESS = SAY | {"logit_bias": ENDS, "stream": True}
JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return two_members(tmp_path_factory.mktemp("family"))


@pytest.fixture(scope="module", params=["torch", "llama.cpp"])
def address(request, folder):
    with serving(folder, "--slots", "4", "--queue", "8", engine=request.param) as (address, process):
        yield address
        assert process.poll() is None, "the server has died"


def post(address, body, headers=JSON, path="/v1/chat/completions"):
    return httpx2.post(f"{address}{path}", content=body, headers=headers, timeout=60)


def running(address):
    return httpx2.get(f"{address}/health").json()["members"]["large"]


def until(condition, seconds=5.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


STRANGE = {
    "nothing": (b"", 400),
    "no JSON": (b"{", 400),
    "a list": (b"[]", 400),
    "a number": (b"1", 400),
    "bad UTF-8": (b'{"model": "\xff"}', 400),
    "half a character": (b'{"model": "\\ud800"}', 400),
    "not a number": (b'{"temperature": NaN}', 400),
    "infinity": (b'{"temperature": -Infinity}', 400),
    "deep": (b"[" * 200_000 + b"]" * 200_000, 400),
    "deep objects": (b'{"a":' * 100_000, 400),
    "thousands of digits": (b'{"seed": ' + b"9" * 5000 + b"}", 400),
    "a large exponent": (b'{"model": "large", "temperature": 1e999, "messages": []}', 400),
    "two megabytes": (b'{"model": "' + b"a" * (2 << 20) + b'"}', 413),
    "a null byte": (json.dumps(SAY | {"model": "\0"}).encode(), 404),
}


@pytest.mark.parametrize(("body", "status"), STRANGE.values(), ids=STRANGE)
def test_strange_bodies(address, body, status):
    reply = post(address, body)
    assert reply.status_code == status, reply.text
    assert reply.json()["error"]["message"]


def test_other_kinds_of_content_paths_and_methods(address):
    body = json.dumps(SAY).encode()
    assert post(address, body, {"Content-Type": "text/plain"}).status_code == 415
    assert post(address, body, {"Content-Type": "application/json; charset=utf-8"}).status_code == 200
    for reply, status in (
        (httpx2.get(f"{address}/v1/chat/completions"), 405),
        (httpx2.get(f"{address}/v1/nothing"), 404),
        (httpx2.get(f"{address}/v1/models/huge"), 404),
    ):
        assert reply.status_code == status
        assert reply.json()["error"]["message"]


@pytest.mark.parametrize("path", ["/../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "/page.js/../../../etc/passwd"])
def test_no_path_leads_out(address, path):
    name, port = address.removeprefix("http://").split(":")
    with socket.create_connection((name, int(port))) as raw:
        raw.sendall(f"GET {path} HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n".encode())
        reply = b"".join(iter(lambda: raw.recv(1 << 16), b""))
    assert reply.startswith(b"HTTP/1.1 404 ")
    assert b"root:" not in reply


def test_every_answer_tells_browsers_to_be_strict(address):
    for path, status in (("/", 200), ("/v1/models", 200), ("/v1/nothing", 404)):
        reply = httpx2.get(f"{address}{path}")
        assert reply.status_code == status
        assert "default-src 'none'; script-src 'self'" in reply.headers["content-security-policy"]
        assert reply.headers["x-content-type-options"] == "nosniff"
        assert reply.headers["referrer-policy"] == "no-referrer"


def test_other_names_are_not_ours(address):
    for host, status in (("evil.example", 421), ("evil.example:8000", 421), ("localhost:1", 200), ("[::1]:1", 200)):
        assert httpx2.get(f"{address}/health", headers={"Host": host}).status_code == status
    reply = httpx2.get(f"{address}/v1/models", headers={"Origin": "http://evil.example"})
    assert not [name for name in reply.headers if name.startswith("access-control")]


def large_head(address, path):
    """What is answered to one; a connection that is closed while it is still being sent may lose that, so try again."""
    for _ in range(20):
        with suppress(httpx2.ReadError, httpx2.WriteError):
            return httpx2.get(f"{address}{path}", headers={"X-Large": "a" * (1 << 15)}).status_code
    raise AssertionError("never heard")


def test_large_heads_are_refused(address):
    assert large_head(address, "/health") in (400, 431)  # as it came in pieces, or at once


def test_who_goes_away_frees_the_place(address):
    with ThreadPoolExecutor(4) as pool:

        def asked_and_left(seed):
            chance = random.Random(seed)
            with httpx2.stream("POST", f"{address}/v1/chat/completions", json=ENDLESS, timeout=60) as reply:
                for number, _ in enumerate(reply.iter_lines()):
                    if number > chance.randrange(1, 30):
                        break

        list(pool.map(asked_and_left, range(40)))
    begun = time.monotonic()
    until(lambda: (running(address)["running"], running(address)["waiting"]) == (0, 0))
    assert time.monotonic() - begun < 1.0  # on a quiet machine some milliseconds: benchmarks/serve_cancel.py


def test_who_does_not_wait_for_a_whole_answer_frees_the_place(address):
    name, port = address.removeprefix("http://").split(":")
    # as long as all four places can be kept
    body = json.dumps(ENDLESS | {"stream": False, "n": 4}).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: {name}\r\nContent-Type: application/json\r\n"
    with socket.create_connection((name, int(port))) as raw:
        raw.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        until(lambda: running(address)["running"] == 4)
        assert running(address)["slots"] == {"free": 0, "busy": 4}
    until(lambda: running(address)["running"] == 0, 1.0)


def test_a_full_queue_says_when_to_come_again(address):
    with ThreadPoolExecutor(40) as pool:
        asked = json.dumps(ENDLESS | {"stream": False, "max_tokens": 900}).encode()
        replies = list(pool.map(lambda _: post(address, asked), range(40)))
    found = {reply.status_code for reply in replies}
    assert found == {200, 429}
    refused = next(reply for reply in replies if reply.status_code == 429)
    assert refused.headers["retry-after"] == "1"
    assert refused.json()["error"]["code"] == "queue_full"


def test_a_refusal_leaves_nothing_running(address):
    asked = {"model": "large", "prompt": [[2, 104], [999_999]], "max_tokens": 1000, "logit_bias": ENDS}
    assert httpx2.post(f"{address}/v1/completions", json=asked).status_code == 400
    assert (running(address)["running"], running(address)["waiting"]) == (0, 0)
    with ThreadPoolExecutor(8) as pool:
        many = json.dumps(SAY | {"n": 4, "max_tokens": 900, "logit_bias": ENDS}).encode()
        replies = list(pool.map(lambda _: post(address, many), range(8)))
    assert 429 in {reply.status_code for reply in replies}
    until(lambda: (running(address)["running"], running(address)["waiting"]) == (0, 0), 1.0)


def test_a_stream_of_which_a_part_is_refused_does_not_begin(address):
    with ThreadPoolExecutor(16) as pool:
        many = json.dumps(SAY | {"n": 4, "max_tokens": 300, "logit_bias": ENDS, "stream": True}).encode()
        replies = list(pool.map(lambda _: post(address, many), range(16)))
    assert {reply.status_code for reply in replies} == {200, 429}
    for reply in replies:
        if reply.status_code == 200:
            assert reply.text.endswith("data: [DONE]\n\n")
            assert '"error"' not in reply.text
    until(lambda: (running(address)["running"], running(address)["waiting"]) == (0, 0), 1.0)


def test_paths_that_there_are_not_are_counted_as_one(address):
    for number in range(30):
        httpx2.get(f"{address}/v1/models/{number}/")
        large_head(address, f"/{number}")
    routes = set(re.findall(r'route="([^"]*)"', httpx2.get(f"{address}/metrics").text))
    assert "other" in routes
    assert not [route for route in routes if re.search(r"\d/?$", route)]


def dropped(connection, seconds):
    """Whether the other side has ended a connection within so many seconds."""
    connection.settimeout(seconds)
    try:
        while connection.recv(1 << 16):
            pass
    except ConnectionResetError:
        pass
    except TimeoutError:
        return False
    return True


def test_what_comes_behind_a_request_must_come_in_time_as_well(address):
    host, port = re.fullmatch(r"http://(.*):(\d+)", address).groups()
    with socket.create_connection((host, int(port))) as connection:
        head = b"Host: localhost\r\n"
        first = b"GET /health HTTP/1.1\r\n" + head + b"\r\n"
        connection.sendall(first + b"POST /v1/completions HTTP/1.1\r\nContent-Length: 1000\r\n" + head + b"\r\n{")
        assert dropped(connection, 12)


def test_who_does_not_take_the_answer_is_dropped(address):
    host, port = re.fullmatch(r"http://(.*):(\d+)", address).groups()
    asked = ENDLESS | {"logprobs": True, "top_logprobs": 20, "n": 4, "stream": False, "max_tokens": 900}
    content = json.dumps(asked).encode()
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect((host, int(port)))
        head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(content)}\r\n"
        connection.sendall(head.encode() + b"Content-Type: application/json\r\n\r\n" + content)
        until(lambda: running(address)["running"] > 0)
        until(lambda: running(address)["running"] == 0, 60)
        time.sleep(11)
        assert dropped(connection, 1)


def test_slow_clients_are_dropped_and_block_nobody(address):
    host, port = re.fullmatch(r"http://(.*):(\d+)", address).groups()
    heads = [b"GET /health HTTP/1.1\r\nHost: localhost\r\n", b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\n"]
    heads[1] += b"Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n{"
    silent = [socket.create_connection((host, int(port))) for _ in range(300)]
    for number, connection in enumerate(silent):
        connection.sendall(heads[number % 2])
    begun = time.monotonic()
    delays = []
    with httpx2.Client() as client:
        said = client.post(f"{address}/v1/chat/completions", json=SAY | {"max_tokens": 5}, timeout=10)
        assert said.status_code == 200
        for _ in range(20):
            at = time.monotonic()
            client.get(f"{address}/health")
            delays.append(time.monotonic() - at)
    assert statistics.median(delays) < 0.1
    for connection in silent:
        connection.settimeout(12)
        with suppress(ConnectionResetError):
            assert not connection.recv(1000)
        connection.close()
    assert time.monotonic() - begun < 12


def test_more_requests_than_there_is_room_for_are_told_when_to_come_again(folder):
    few = "import minikin.serve.guard\nminikin.serve.guard._MOST_AT_ONCE = 3"
    with serving(folder / "small", before=few) as (address, _), ExitStack() as open_ones:
        host, port = re.fullmatch(r"http://(.*):(\d+)", address).groups()
        head = b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        for _ in range(3):
            connection = open_ones.enter_context(socket.create_connection((host, int(port))))
            connection.sendall(head + b"Content-Length: 1000\r\n\r\n{")
        until(lambda: httpx2.get(f"{address}/health").status_code == 503)
        refused = httpx2.post(f"{address}/v1/completions", json={})
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
        assert refused.json()["error"]["code"] == "overloaded"
        assert refused.json()["error"]["type"] == "server_error"
        open_ones.close()
        until(lambda: httpx2.get(f"{address}/health").status_code == 200)
        assert 'status="503"' in httpx2.get(f"{address}/metrics").text


def test_bytes_changed_at_random(address):
    """A few hundred here; `benchmarks/serve_fuzz.py` sends ten thousand."""
    chance = random.Random(1)
    whole = json.dumps(SAY | {"max_tokens": 2, "temperature": 0.5, "stop": ["a"], "stream": False}).encode()
    with httpx2.Client() as client:
        for _ in range(300):
            body = bytearray(whole)
            for _ in range(chance.randint(1, 6)):
                body[chance.randrange(len(body))] = chance.randrange(256)
            reply = client.post(f"{address}/v1/chat/completions", content=bytes(body), headers=JSON, timeout=30)
            assert reply.status_code < 500, (bytes(body), reply.text)


def test_requests_made_from_the_description(address):
    schema = schemathesis.openapi.from_url(f"{address}/openapi.json")
    found = set()
    for operation in schema.get_all_operations():
        found |= _statuses(operation.ok().as_strategy(), address)
    assert found <= {200, 400, 404, 415, 429}
    assert {200, 400} <= found


def _statuses(case_of, address):
    found = set()

    @given(case=case_of)
    @settings(max_examples=60, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
    def send(case):
        found.add(case.call(base_url=address).status_code)

    send()
    return found


def test_a_key_is_asked_for_everywhere_but_at_the_door(folder):
    for key in ("sésame", "voilà"):  # of the latter, Latin-1 would take the last byte for a space
        with serving(folder / "small", MINIKIN_API_KEY=f"{key}\n") as (address, _):
            headers = {"Authorization": f"Bearer {key}".encode()}
            assert httpx2.get(f"{address}/v1/models", headers=headers).status_code == 200
    with serving(folder / "small", MINIKIN_API_KEY="secret") as (address, _):
        for path, status in (("/health", 200), ("/", 200), ("/page.js", 200), ("/metrics", 401), ("/v1/models", 401)):
            assert httpx2.get(f"{address}{path}").status_code == status
        for key, status in (("secret", 200), ("secre", 401), ("none", 401), ("sécret", 401)):
            headers = {"Authorization": f"Bearer {key}".encode()}
            assert httpx2.get(f"{address}/v1/models", headers=headers).status_code == status
        refused = httpx2.post(f"{address}/v1/chat/completions", json=SAY).json()["error"]
        assert refused["type"] == "authentication_error"
        told = httpx2.get(f"{address}/openapi.json", headers={"Authorization": "Bearer secret"}).json()
        assert told["components"]["securitySchemes"] == {"key": {"type": "http", "scheme": "bearer"}}
        assert told["security"] == [{"key": []}]
        assert told["paths"]["/health"]["get"]["security"] == []
        assert "security" not in told["paths"]["/v1/models"]["get"]


@pytest.mark.parametrize("engine", ["torch", "llama.cpp"])
def test_what_is_being_said_is_said_to_its_end(folder, engine):
    with serving(folder / "small", engine=engine, start_new_session=True) as (address, process):
        heard, begun = [], threading.Event()

        def listen():
            asked = ENDLESS | {"model": "small", "max_tokens": 600}
            with httpx2.stream("POST", f"{address}/v1/chat/completions", json=asked, timeout=60) as reply:
                for line in reply.iter_lines():
                    heard.append(line)
                    begun.set()

        listener = threading.Thread(target=listen)
        listener.start()
        assert begun.wait(10)
        os.killpg(process.pid, signal.SIGINT)  # as Ctrl-C does, to all that it has started as well
        listener.join(30)
        assert heard[-2:] == ["data: [DONE]", ""] or heard[-1] == "data: [DONE]"
        assert process.wait(30) in (0, -signal.SIGINT, 128 + signal.SIGINT)


@pytest.mark.parametrize("engine", ["torch", "llama.cpp"])
def test_what_would_not_end_is_broken_off_with_a_word(folder, engine):
    hurry = "import minikin.serve.server\nminikin.serve.server._LAST_WORDS = 0.3"
    with serving(folder, "--slots", "1", engine=engine, before=hurry) as (address, process):
        streamed = ENDLESS | {"messages": [{"role": "user", "content": "x" * 10}]}
        with ThreadPoolExecutor(8) as pool:
            asked = json.dumps(streamed | {"n": 4}).encode()
            streams = [pool.submit(post, address, asked) for _ in range(4)]
            asked = json.dumps(streamed | {"n": 4, "stream": False}).encode()
            whole = [pool.submit(post, address, asked) for _ in range(4)]
            until(lambda: running(address)["waiting"] > 20)
            process.send_signal(signal.SIGTERM)
            begun = time.monotonic()
            replies = [each.result() for each in (*streams, *whole)]
        assert process.wait(10) in (0, -signal.SIGTERM, 128 + signal.SIGTERM)
        assert time.monotonic() - begun < 8
    broken = ["engine_unavailable" in reply.text for reply in replies]
    assert any(broken[:4])
    assert any(broken[4:])
    for reply, broken_off in zip(replies, broken, strict=True):
        assert reply.status_code in (200, 503)
        assert broken_off or reply.text.endswith("data: [DONE]\n\n") or reply.json()["usage"]["completion_tokens"] > 0


def refused(*words):
    run = subprocess.run([sys.executable, "-m", "minikin", "serve", *map(str, words)], capture_output=True, text=True)
    assert run.returncode == 1
    assert run.stderr.count("\n") == 1, run.stderr
    return run.stderr


def test_an_empty_key_is_none_to_rely_on(folder):
    assert "--api-key: is empty" in refused(folder, "--api-key", " ")


def test_what_cannot_be_served_is_one_line(folder, tmp_path):
    assert "holds no member" in refused(tmp_path)
    assert "others could ask without a key" in refused(folder, "--host", "0.0.0.0")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        assert "choose another: --port" in refused(folder, "--port", taken.getsockname()[1])
    (tmp_path / "broken").mkdir()
    for name in os.listdir(folder / "small"):
        if name.endswith(".json"):
            (tmp_path / "broken" / name).write_bytes((folder / "small" / name).read_bytes())
    assert "model.safetensors" in refused(tmp_path / "broken", "--engine", "torch")
