"""Under load, what broke off is an error of the run and no answer."""

import asyncio
from pathlib import Path

import pytest
import serve_load

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
