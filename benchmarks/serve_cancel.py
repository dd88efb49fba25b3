"""Claim: who leaves frees the place at once and changes nothing for others.

    python benchmarks/serve_cancel.py MEMBER [--engine NAME] [--threads N]

1,000 streams are left after a random number of events, twenty at a time, each time beside three whole answers that are
held against those that were given alone.
"""

import asyncio
import contextlib
import random
import time
from pathlib import Path

import httpx2
from serving import ENDLESS, QUESTIONS, arguments, body, events, served, text_of

_STREAMS, _TOGETHER, _LONGEST = 1000, 20, 400


def main() -> None:
    """Leave them all, then see how long the places stay taken."""
    asked = arguments().parse_args()
    with served(asked, slots=32) as (address, _):
        changed, seconds = asyncio.run(_run(address, asked.member))
    others = _STREAMS // _TOGETHER * len(QUESTIONS)
    print(f"{_STREAMS} streams left, all places free {1000 * seconds:.0f} ms after the last")
    print(f"{changed} of {others} answers beside them changed")


async def _run(address: str, member: Path) -> tuple[int, float]:
    async def whole(question: str) -> str:
        return "".join([text_of(event) async for event in events(address, body(member, question, 64))])

    alone, chance, changed = [await whole(question) for question in QUESTIONS], random.Random(1), 0
    for _ in range(_STREAMS // _TOGETHER):
        leaving = (_leave(address, member, chance.randrange(1, 30)) for _ in range(_TOGETHER))
        found = await asyncio.gather(*(whole(question) for question in QUESTIONS), *leaving)
        changed += sum(said != one for said, one in zip(found[: len(alone)], alone, strict=True))
    begun = time.monotonic()
    async with httpx2.AsyncClient() as client:
        while (await client.get(f"{address}/health")).json()["members"][member.resolve().name]["running"]:
            await asyncio.sleep(0.005)
    return changed, time.monotonic() - begun


async def _leave(address: str, member: Path, most: int) -> None:
    seen = 0
    async with contextlib.aclosing(events(address, body(member, QUESTIONS[0], _LONGEST, **ENDLESS))) as stream:
        async for _ in stream:
            seen += 1
            if seen >= most:
                return


if __name__ == "__main__":
    main()
