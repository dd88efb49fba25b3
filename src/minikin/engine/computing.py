"""The one thread of a process in which PyTorch answers, whatever the member.

OpenMP gives every thread that computes helpers of its own. Once there are more of all these than processors, helpers
sleep between operations, and waking them takes longer than a small member's operations do.
"""

from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from threading import Lock, Thread
from traceback import print_exc
from typing import TypeVar

Given = TypeVar("Given")

_due, _starting = SimpleQueue[Callable[[], None]](), Lock()
_started = list[Thread]()


def later(work: Callable[[], None]) -> None:
    """Do it after what is due already; it must not raise, nor take long while others wait for their turn."""
    if not _started:
        _start()
    _due.put(work)


def done(work: Callable[[], Given]) -> Given:
    """Do it, and wait for what it gives or raises; not to be asked for by work that is done there."""
    result = Future[Given]()

    def finish() -> None:
        try:
            result.set_result(work())
        except BaseException as error:  # noqa: BLE001  it is raised where it was asked for
            result.set_exception(error)

    later(finish)
    return result.result()


def _start() -> None:
    with _starting:
        if not _started:
            thread = Thread(target=_compute, name="minikin computes", daemon=True)
            thread.start()
            _started.append(thread)


def _compute() -> None:
    while True:
        try:
            _due.get()()
        except BaseException:  # noqa: BLE001  a fault of ours; others have their turn all the same
            print_exc()
