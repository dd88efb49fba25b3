"""Requests that are wrong in many places are refused for the first, and no time is spent on the others."""

import json

import pytest
from pydantic import ValidationError

from minikin.serve import reading
from minikin.serve.fields import ChatRequest, CompletionRequest, ResponsesRequest

WRONG, TURN = [{}] * 256, {"role": "user", "content": "a"}


@pytest.mark.parametrize(
    ("fields", "asked", "where"),
    [
        (ChatRequest, {"messages": [{}] * 100_000}, "messages.0.role"),
        (ChatRequest, {"messages": [TURN, *WRONG[:200]]}, "messages.1.role"),
        (ChatRequest, {"messages": [{"role": "user", "content": WRONG}] * 256}, "messages.0.content.0.type"),
        (ChatRequest, {"messages": [TURN], "logit_bias": {f"x{each}": "y" for each in range(60_000)}}, "logit_bias"),
        (ResponsesRequest, {"input": WRONG}, "input.0.role"),
        (ResponsesRequest, {"input": [{"role": "user", "content": WRONG}] * 256}, "input.0.content.0.type"),
        (CompletionRequest, {"prompt": [{}] * 100_000}, "prompt.0"),
    ],
)
def test_the_first_of_many_faults_is_told(fields, asked, where):
    with pytest.raises(ValidationError) as found:
        fields.model_validate({"model": "large", **asked})
    assert found.value.error_count() < 10
    assert reading._first(found.value)[0] == where


@pytest.mark.parametrize(("text", "fault"), [("\\ud800", True), ("\\uD83D\\uDC3B", False), ("\\\\ud800", False)])
def test_half_a_character_is_no_text(text, fault):
    body = b'{"a": "' + text.encode() + b'"}'
    if fault:
        with pytest.raises(reading.Refusal, match="not valid JSON"):
            reading.parsed(body)
    else:
        assert reading.parsed(body) == json.loads(body)
