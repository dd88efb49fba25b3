"""What llama.cpp streams counts only if it came to its end, and is the likeliest token."""

import io
import json

import decode
import pytest
from baseline import FORGETFUL, LIKELIEST


class Streaming:
    """A llama.cpp that streams this, and remembers what it was asked."""

    def __init__(self, *events):
        self._said = b"".join(b"data: " + json.dumps(each).encode() + b"\n\n" for each in events)

    def asked(self, _, value):
        self.value = value
        return io.BufferedReader(io.BytesIO(self._said))


def test_a_whole_stream_is_timed():
    server = Streaming({"content": "a", "stop": False}, {"content": "", "stop": True, "tokens_predicted": 2})
    assert decode.seconds_streamed(server, (20, 21), 2) > 0
    asked = LIKELIEST | FORGETFUL
    assert {name: server.value[name] for name in asked} == asked


@pytest.mark.parametrize("last", [{"stop": False}, {"stop": True, "tokens_predicted": 1}])
def test_a_stream_that_breaks_off_is_no_time(last):
    with pytest.raises(AssertionError):
        decode.seconds_streamed(Streaming({"content": "a"} | last | {"tokens_predicted": 1}), (20, 21), 2)
