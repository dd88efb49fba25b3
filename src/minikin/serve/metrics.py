"""What the server does, for Prometheus."""

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import final

import psutil
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from minikin.serve.house import House

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


@final
class Metrics:
    """Counters of one server."""

    def __init__(self, house: House) -> None:
        self._registry = CollectorRegistry()
        self.resident = Resident()
        self._registry.register(_Now(house, self.resident))
        self.requests = Counter(
            "minikin_requests", "Requests by route and status.", ("route", "status"), registry=self._registry
        )
        self._tokens = Counter("minikin_tokens", "Tokens read and said.", ("member", "kind"), registry=self._registry)
        self._first = Histogram(
            "minikin_first_token_seconds",
            "From the request to its first token.",
            ("member",),
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._whole = Histogram(
            "minikin_answer_seconds",
            "From the request to the end of its answer.",
            ("member",),
            buckets=_SECONDS,
            registry=self._registry,
        )

    def read(self, member: str, tokens: int) -> None:
        """So many tokens of prompts."""
        self._tokens.labels(member, "prompt").inc(tokens)

    def watch(self, member: str) -> "Watch":
        """One more answer, from now on."""
        return Watch(
            told=self._tokens.labels(member, "answer").inc,
            first=self._first.labels(member).observe,
            whole=self._whole.labels(member).observe,
        )

    def text(self) -> bytes:
        """All of it in Prometheus' format."""
        return generate_latest(self._registry)


@final
class Watch:
    """One answer's times."""

    def __init__(
        self, *, told: Callable[[float], None], first: Callable[[float], None], whole: Callable[[float], None]
    ) -> None:
        self._told, self._first, self._whole = told, first, whole
        self._since, self._spoke = time.monotonic(), False

    def said(self, tokens: int) -> None:
        """So many tokens more."""
        if not self._spoke:
            self._spoke = True
            self._first(time.monotonic() - self._since)
        self._told(tokens)

    def ended(self) -> None:
        """It is whole; one that is left before is none."""
        self._whole(time.monotonic() - self._since)


class _Now(Collector):
    """What is so at the moment of asking."""

    def __init__(self, house: House, resident: "Resident") -> None:
        self._house, self._resident = house, resident

    def collect(self) -> Iterator[GaugeMetricFamily]:
        running = GaugeMetricFamily("minikin_running", "Answers being written.", labels=("member",))
        waiting = GaugeMetricFamily("minikin_waiting", "Questions that wait.", labels=("member",))
        for member in self._house:
            load = member.engine.load()
            running.add_metric((member.name,), load.running)
            waiting.add_metric((member.name,), load.waiting)
        memory = GaugeMetricFamily("minikin_resident_bytes", "Memory of server and engines.", self._resident())
        yield from (running, waiting, memory)


@final
class Resident:
    """Bytes of memory of this process and of those that it started; looked at once a second, for it takes a while."""

    def __init__(self) -> None:
        self._process, self._at, self._size = psutil.Process(), float("-inf"), 0

    def __call__(self) -> int:
        if time.monotonic() - self._at > 1.0:
            self._at, self._size = time.monotonic(), self._process.memory_info().rss
            for child in self._process.children():
                with suppress(psutil.NoSuchProcess):
                    self._size += child.memory_info().rss
        return self._size
