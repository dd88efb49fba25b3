"""Claim: who leaves frees the place within 0.2 s, and changes nothing for others.

    python benchmarks/serve_cancel.py MEMBER [--streams 1000] [--engine NAME] [--threads N]

Streams are left twenty at a time, beside three whole answers that are held against those that were given alone: ten
after a random number of events, while the others are given, and ten together once those are over. From then on it
counts how long a place is still taken.
"""

import asyncio
import contextlib
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import httpx2
from conditions import conditions
from serving import ENDLESS, QUESTIONS, arguments, body, events, served, share_within, text_of

_TOGETHER, _LONGEST, _MOST_EVENTS, _SEED = 20, 400, 30, 1
_PROMISED = 0.2  # seconds until all places are free
_DEADLINE, _LOOK = 5.0, 0.005  # seconds after which they count as lost; from one look to the next


@dataclass(kw_only=True)
class Seen:
    """Of every batch, seconds until all places were free; answers that changed, each as it was alone and then."""

    freed: list[float] = field(default_factory=list[float])
    changed: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    answers: int = 0

    def told(self) -> str:
        """In three lines at most."""
        late = sum(seconds > _PROMISED for seconds in self.freed)
        p50, p99, longest = (1000 * share_within(self.freed, share) for share in (0.5, 0.99, 1.0))
        said = f"all places free after p50 {p50:.0f} ms, p99 {p99:.0f} ms, longest {longest:.0f} ms; "
        said += f"{late} of {len(self.freed)} times later than {1000 * _PROMISED:.0f} ms\n"
        said += f"{len(self.changed)} of {self.answers} answers beside them changed"
        for alone, then in self.changed[:1]:
            said += f": {alone!r} alone, {then!r} then"
        return said

    @property
    def holds(self) -> bool:
        """Whether all was as claimed."""
        return not self.changed and max(self.freed) <= _PROMISED


def main() -> None:
    """Leave them all; fails if a place was free too late or an answer changed."""
    asked = arguments(__doc__)
    asked.add_argument("--streams", type=int, default=1000, help="that are left (1000)")
    given = asked.parse_args()
    if given.streams < 1:
        asked.error(f"--streams {given.streams}: nobody would leave; ask at least 1")
    n = f"{given.streams:,} streams that are left, {_TOGETHER} at a time"
    print(conditions(threads=given.threads, n=n, seed=f"{_SEED}, when they are left"), flush=True)
    with served(given, slots=32) as (address, _):
        try:
            seen = asyncio.run(_run(address, given.member, given.streams))
        except (OSError, ValueError, httpx2.HTTPError) as error:
            raise SystemExit(f"broken off: {error!r}") from error
    print(seen.told())
    if not seen.holds:
        raise SystemExit("the claim does not hold")


async def _run(address: str, member: Path, streams: int) -> Seen:
    """Raises OSError (a TimeoutError is one), ValueError and HTTPError if it cannot go on."""
    chance, seen = random.Random(_SEED), Seen()
    alone = [await _whole(address, member, question) for question in QUESTIONS]
    async with httpx2.AsyncClient(base_url=address) as client:

        async def busy() -> int:
            load = (await client.get("/health")).json()["members"][member.resolve().name]
            return load["running"] + load["waiting"]

        while streams > 0:
            found = await _batch(address, member, min(streams, _TOGETHER), chance)
            seen.freed.append(await freed(busy, _DEADLINE))
            seen.changed += [(one, then) for one, then in zip(alone, found, strict=True) if one != then]
            seen.answers += len(found)
            streams -= _TOGETHER
    return seen


async def _batch(address: str, member: Path, streams: int, chance: random.Random) -> list[str]:
    """What was answered to whoever stayed, after the last has left."""
    answered = asyncio.Event()

    async def staying() -> list[str]:
        found = await asyncio.gather(*(_whole(address, member, question) for question in QUESTIONS))
        answered.set()
        return found

    meanwhile = (_leave(address, member, _after(chance.randrange(1, _MOST_EVENTS))) for _ in range(streams // 2))
    then = (_leave(address, member, lambda _: answered.is_set()) for _ in range(streams - streams // 2))
    found, *_ = await asyncio.gather(staying(), *meanwhile, *then)
    return found


async def freed(busy: Callable[[], Awaitable[int]], within: float) -> float:
    """Seconds until none is `busy` any more; raises TimeoutError if that is not so `within` some."""
    begun, count = time.monotonic(), 0
    try:
        async with asyncio.timeout(within):
            while count := await busy():
                await asyncio.sleep(_LOOK)
    except TimeoutError as error:
        raise TimeoutError(f"{count} places still taken after {within:g} s") from error
    return time.monotonic() - begun


async def _whole(address: str, member: Path, question: str) -> str:
    return "".join([text_of(event) async for event in events(address, body(member, question, 64))])


def _after(most: int) -> Callable[[int], bool]:
    return lambda seen: seen >= most


async def _leave(address: str, member: Path, enough: Callable[[int], bool]) -> None:
    """Leave a stream once so many events of it are `enough`; raises ValueError if it ends before."""
    seen = 0
    async with contextlib.aclosing(events(address, body(member, QUESTIONS[0], _LONGEST, **ENDLESS))) as stream:
        async for _ in stream:
            seen += 1
            if enough(seen):
                return
    raise ValueError(f"a stream ended after {seen} events, before it was left")


if __name__ == "__main__":
    main()
