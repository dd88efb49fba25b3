"""Whoever is asked at fixed times cannot hide that it stood still."""

import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from health import Health, on_time
from serving import share_within


class Standing(BaseHTTPRequestHandler):
    """Stands still at the third question, and refuses the fifth."""

    protocol_version = "HTTP/1.1"
    asked = 0

    def do_GET(self):
        Standing.asked += 1
        if Standing.asked == 3:
            time.sleep(1.0)
        self.send_response(503 if Standing.asked == 5 else 200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def address():
    Standing.asked = 0
    with ThreadingHTTPServer(("127.0.0.1", 0), Standing) as server:
        threading.Thread(target=server.serve_forever).start()
        yield "http://{}:{}".format(*server.server_address)
        server.shutdown()


def test_a_server_that_stands_still_is_late_for_all_that_were_due(address):
    with Health(address) as health:
        time.sleep(1.6)
    assert max(health.times) >= 1.0
    assert sum(seconds > 0.45 for seconds in health.times) >= 5  # a second stood still holds ten of them
    assert health.problems == ["status 503"]
    assert f"longest {1000 * max(health.times):.0f} ms, 1 not answered ['status 503']" in health.told()


def test_what_was_due_before_the_end_is_asked_still():
    over = threading.Event()

    def ask():
        if not over.is_set():
            threading.Timer(0.3, over.set).start()
            over.wait()
            time.sleep(0.2)
        return ""

    times = [seconds for seconds, _ in on_time(ask, over)]
    assert len(times) >= 4  # due after 0, 0.1, 0.2, 0.3 s, of which the first took until it was over
    assert times[0] >= 0.45


def test_shares():
    values = [5.0, 1.0, 2.0, 4.0, 3.0]
    assert [share_within(values, share) for share in (0.5, 0.99, 1.0)] == [3.0, 5.0, 5.0]
    assert share_within([7.0], 0.5) == 7.0
    assert share_within([float(n) for n in range(1, 101)], 0.99) == 99.0
