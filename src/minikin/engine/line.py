"""Who waits for an engine: first come, first served, and no more than there is room for."""

from collections import deque
from collections.abc import Callable
from threading import Condition
from typing import Generic, TypeVar, final

from minikin.base.errors import BusyError, EngineError

Waiting = TypeVar("Waiting")


@final
class Line(Generic[Waiting]):
    """Asks that wait; `room` is for them and those that are being answered. Threads may use it at once."""

    def __init__(self, room: int) -> None:
        self._room, self._inside, self._closed = room, 0, False
        self._waiting, self._changed = deque[Waiting](), Condition()

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def open(self) -> bool:
        """Whether anybody may still come."""
        return not self._closed

    def enter(self, ask: Waiting) -> None:
        """Wait; raises EngineError if nobody is answered any more, BusyError if there is no room."""
        with self._changed:
            if self._closed:
                raise EngineError("the engine is closed")
            if self._inside >= self._room:
                raise BusyError(f"{len(self._waiting)} questions wait already; ask again later")
            self._inside += 1
            self._waiting.append(ask)
            self._changed.notify()

    def next(self) -> Waiting | None:
        """Who came first, once somebody waits; None if the line is closed."""
        with self._changed:
            while not (self._waiting or self._closed):
                self._changed.wait()
            return None if self._closed else self._waiting.popleft()

    def first(self, most: int, size: Callable[[Waiting], int], room: int) -> list[Waiting]:
        """Who came first, and up to `most` with the next ones that `room` is enough for; nobody if nobody waits."""
        with self._changed:
            found: list[Waiting] = []
            while self._waiting and len(found) < most:
                room -= size(self._waiting[0])
                if found and room < 0:
                    break
                found.append(self._waiting.popleft())
            return found

    def step_out(self, ask: Waiting) -> bool:
        """Wait no more; False if it does not wait."""
        with self._changed:
            waits = ask in self._waiting
            if waits:
                self._waiting.remove(ask)
                self._inside -= 1
            return waits

    def done(self) -> None:
        """One that was taken has been answered."""
        with self._changed:
            self._inside -= 1

    def close(self) -> list[Waiting]:
        """Let nobody in any more; returns those that wait in vain."""
        with self._changed:
            self._closed = True
            left = list(self._waiting)
            self._waiting.clear()
            self._inside -= len(left)
            self._changed.notify_all()
        return left
