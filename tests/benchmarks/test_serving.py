"""What the benchmarks of the server share: an answer that breaks off is none, and what the server says is read."""

import asyncio
import sys
import time

import psutil
import pytest
import serving

SAID = b'data: {"choices": [{"delta": {"content": "a"}}]}\n\n'
DONE = b"data: [DONE]\n\n"
BROKEN_OFF = {
    "no end": SAID,
    "an error": SAID + b'data: {"error": {"message": "it died"}}\n\n' + DONE,
    "llama.cpp's error": SAID + b'error: {"message": "it died"}\n\n' + DONE,
    "half an event": SAID + SAID[:12],
    "nothing": b"",
}


def heard(content, status=b"200 OK"):
    """The texts that a client hears if this is what is sent to it."""

    async def run():
        async def answer(reader, writer):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 " + status + b"\r\nContent-Type: text/event-stream\r\n\r\n" + content)
            await writer.drain()
            writer.close()

        async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
            address = "http://{}:{}".format(*server.sockets[0].getsockname())
            return [serving.text_of(event) async for event in serving.events(address, {})]

    return asyncio.run(run())


def test_a_whole_answer_is_heard():
    assert heard(SAID + SAID + DONE) == ["a", "a"]
    assert [serving.text_of(event) for event in serving.read(SAID + SAID + DONE)] == ["a", "a"]


@pytest.mark.parametrize("content", BROKEN_OFF.values(), ids=BROKEN_OFF)
def test_an_answer_that_breaks_off_is_an_error(content):
    with pytest.raises(ValueError, match=r"broken off|Expecting|Unterminated"):
        heard(content)
    with pytest.raises(ValueError, match=r"broken off|Expecting|Unterminated"):
        serving.read(content)


def test_a_refusal_is_an_error():
    with pytest.raises(ValueError, match="503"):
        heard(SAID + DONE, status=b"503 Service Unavailable")


# more than a pipe holds; then it shows that it got so far, and waits to be ended
LOUD = """
import pathlib, sys, time
print("a word before\\nserving at http://127.0.0.1:1 (a page)", file=sys.stderr)
for number in range(5000):
    print("Traceback (most recent call last):", number, "." * 100, file=sys.stderr, flush=True)
pathlib.Path(sys.argv[1]).touch()
time.sleep(100)
"""


def test_what_the_server_says_is_read_while_it_runs_and_told_in_the_end(tmp_path, capsys):
    with serving.running([sys.executable, "-c", LOUD, str(tmp_path / "got so far")]) as (address, process):
        deadline = time.monotonic() + 30
        while not (tmp_path / "got so far").exists():
            assert time.monotonic() < deadline, "the server stands still: nobody reads what it says"
            time.sleep(0.01)
    assert address == "http://127.0.0.1:1"
    assert not psutil.pid_exists(process.pid)
    told = capsys.readouterr().out.splitlines()
    assert told[0] == "the server said:"
    assert told[1].startswith("Traceback (most recent call last): 0 ...")
    assert told[-1] == "… and 4960 more lines"


def test_a_quiet_server_leaves_nothing_to_tell(capsys):
    quiet = "import sys, time; print('serving at http://a', file=sys.stderr, flush=True); time.sleep(100)"
    with serving.running([sys.executable, "-c", quiet]):
        pass
    assert capsys.readouterr().out == ""


def test_a_server_that_does_not_start_says_why(capsys):
    fails = [sys.executable, "-c", "raise ValueError('no such member')"]
    with pytest.raises(SystemExit, match="did not start"), serving.running(fails):
        pass
    assert "ValueError: no such member" in capsys.readouterr().out


def dead(process):
    """Wait for it, and leave its exit status to its parent."""
    while process.status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.01)


def test_a_server_that_dies_is_an_error():
    dies = [sys.executable, "-c", "import sys; sys.stderr.write('serving at http://a\\n'); sys.exit(3)"]
    with pytest.raises(SystemExit, match=r"died \(exit status 3\)"), serving.running(dies) as (_, process):
        dead(process)
