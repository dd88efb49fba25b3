"""What the benchmarks of the server are made of: an answer that breaks off is none."""

import asyncio

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
