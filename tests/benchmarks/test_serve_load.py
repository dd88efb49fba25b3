"""Under load, what broke off is an error of the run and no answer, and both servers are asked alike."""

import asyncio
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
import serve_load
from baseline import FORGETFUL, LIKELIEST
from fakes import TINY

TEXT = {"choices": [{"delta": {"content": "a"}}]}
USAGE = {"choices": [], "usage": {"completion_tokens": 3}}


@pytest.mark.parametrize(
    ("sent", "answers"), [((TEXT, USAGE), True), ((TEXT, USAGE, ValueError("broken off")), False), ((TEXT,), False)]
)
def test_what_breaks_off_is_counted_as_an_error_only(monkeypatch, sent, answers):
    async def events(*_):
        await asyncio.sleep(0.01)
        for each in sent:
            if isinstance(each, Exception):
                raise each
            yield each

    monkeypatch.setattr(serve_load, "events", events)
    seen = asyncio.run(serve_load._clients("", Path("member"), 0.1, {}))
    assert (len(seen.first), sum(seen.tokens)) == (seen.answers, 3 * seen.answers)
    assert (seen.answers > 0, len(seen.errors) > 0) == (answers, not answers)


class Alone:
    """llama.cpp's own server, of which only the address is asked."""

    key = "secret"

    def __init__(self, *_, **__):
        pass

    def address(self):
        return "alone"

    def close(self):
        pass


@contextmanager
def ours(*_, **__):
    """A server of ours that is not there."""
    yield "ours", None


def test_llama_cpp_alone_is_asked_as_our_engine_asks_it(monkeypatch):
    asked = []

    async def clients(address, member, seconds, more, key=""):
        asked.append((address, more, key))
        return serve_load.Seen()

    for name, stand_in in {
        "served": ours,
        "Child": Alone,
        "_clients": clients,
        "memory": lambda _: 0.0,
        "gguf_file": lambda *_: None,
        "read_config": lambda _: TINY,
    }.items():
        monkeypatch.setattr(serve_load, name, stand_in)
    monkeypatch.setattr(sys, "argv", ["serve_load.py", "nano"])
    serve_load.main()
    counted = {"stream_options": {"include_usage": True}}
    alone = counted | LIKELIEST | FORGETFUL
    assert asked == [("ours", counted, "")] * 2 + [("alone", alone, "secret")] * 2
