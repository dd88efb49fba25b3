"""How a server fares meanwhile: its health is asked for at fixed times, from a process of its own.

Every question counts from when it was due, not from when it could be put: a server that stands still for a second keeps
all waiting that were due in that second, not the one that it had just been asked ("coordinated omission").

`python benchmarks/health.py ADDRESS` says a word once it has begun, asks until its input ends, and prints as JSON how
long each was waited for and what was wrong with it.
"""

import json
import math
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from http import HTTPStatus

import httpx2
from serving import share_within

_BEAT = 0.1  # seconds from one to the next
_PATIENCE = 30  # seconds until one counts as not answered


class Health:
    """Asks ten times a second, from entering to leaving; then knows how long each of them waited, in seconds."""

    def __init__(self, address: str) -> None:
        self._command = [sys.executable, __file__, f"{address}/health"]
        self.times, self.problems = list[float](), list[str]()

    def __enter__(self) -> "Health":
        self._process = subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self._process.stdout.readline()
        return self

    def __exit__(self, *_: object) -> None:
        said, _ = self._process.communicate()
        found = json.loads(said)
        self.times, self.problems = [seconds for seconds, _ in found], [problem for _, problem in found if problem]

    def told(self) -> str:
        """In a line."""
        p50, p99, longest = (1000 * share_within(self.times, share) for share in (0.5, 0.99, 1.0))
        wrong = f"{len(self.problems)} not answered {sorted(set(self.problems))[:2] or ''}".rstrip()
        times = f"p50 {p50:.0f} ms, p99 {p99:.0f} ms, longest {longest:.0f} ms"
        return f"health, asked {len(self.times):,} times: {times}, {wrong}"


def on_time(ask: Callable[[], str], over: threading.Event) -> list[tuple[float, str]]:
    """Seconds from when each was due to when it was answered, and what `ask` says was wrong with the answer.

    Once it is `over`, those are asked still that were due before.
    """
    begun, until, found = time.monotonic(), math.inf, list[tuple[float, str]]()
    while True:
        due = begun + len(found) * _BEAT
        if over.wait(max(0.0, due - time.monotonic())):
            until = min(until, time.monotonic())
        if due > until:
            return found
        problem = ask()
        found.append((time.monotonic() - due, problem))


def main() -> None:
    """Ask until the input ends."""
    over = threading.Event()
    with httpx2.Client(timeout=_PATIENCE) as client:

        def ask() -> str:
            try:
                status = client.get(sys.argv[1]).status_code
            except httpx2.HTTPError as error:
                return repr(error)
            return "" if status == HTTPStatus.OK else f"status {status}"

        ask()  # the first one connects
        print("begun", flush=True)
        threading.Thread(target=lambda: (sys.stdin.read(), over.set()), daemon=True).start()
        print(json.dumps(on_time(ask, over)))


if __name__ == "__main__":
    main()
