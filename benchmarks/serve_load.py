"""Claim: 64 clients stream at once without an error, each as fast as the others, nearly as fast as llama.cpp serves
them.

    python benchmarks/serve_load.py MEMBER [--seconds 120] [--engine NAME] [--threads N]

Two minutes with our server, then two with llama.cpp's own, on the same GGUF file with as many slots.
"""

import asyncio
import time
from dataclasses import dataclass, field
from pathlib import Path

from serving import QUESTIONS, arguments, body, events, memory, served, text_of

from minikin.app.engines import gguf_file
from minikin.engine.child import Child
from minikin.model.checkpoint import read_config

_CLIENTS, _WARM, _LONGEST = 64, 10, 64  # clients; seconds; tokens


@dataclass(kw_only=True)
class Seen:
    """What all clients met with; `pieces` of each client."""

    first: list[float] = field(default_factory=list[float])
    pieces: list[int] = field(default_factory=list[int])
    errors: list[str] = field(default_factory=list[str])

    def told(self, seconds: float) -> str:
        """In a line."""
        p50, p95 = (1000 * sorted(self.first)[int(share * (len(self.first) - 1))] for share in (0.5, 0.95))
        least = 100 * min(self.pieces) / max(self.pieces)
        return (
            f"{len(self.first) / seconds:.1f} answers/s, {sum(self.pieces) / seconds:.0f} events/s, first text after "
            f"{p50:.0f} ms (p50), {p95:.0f} ms (p95), the slowest client had {least:.0f} % of the fastest's events, "
            f"{len(self.errors)} errors {self.errors[:2] or ''}"
        )


def main() -> None:
    """Both servers."""
    asked = arguments()
    asked.add_argument("--seconds", type=float, default=120)
    given = asked.parse_args()
    with served(given, slots=_CLIENTS, queue=_CLIENTS) as (address, process):
        asyncio.run(_clients(address, given.member, _WARM, ""))
        before = memory(process)
        seen = asyncio.run(_clients(address, given.member, given.seconds, ""))
        print(f"minikin: {seen.told(given.seconds)}; memory {before:.0f} → {memory(process):.0f} MB")
    config = read_config(given.member)
    room = _CLIENTS * config.max_position_embeddings * config.kv_bytes_per_token()
    child = Child(
        gguf_file(given.member, "q8_0"),
        slots=_CLIENTS,
        context=config.max_position_embeddings,
        threads=given.threads,
        memory=room,
    )
    try:
        asyncio.run(_clients(child.address(), given.member, _WARM, child.key))
        seen = asyncio.run(_clients(child.address(), given.member, given.seconds, child.key))
        print(f"llama.cpp's own server: {seen.told(given.seconds)}")
    finally:
        child.close()


async def _clients(address: str, member: Path, seconds: float, key: str) -> Seen:
    seen, until = Seen(), time.monotonic() + seconds

    async def client(number: int) -> None:
        pieces = 0
        while time.monotonic() < until:
            begun, spoke = time.monotonic(), False
            try:
                async for event in events(address, body(member, QUESTIONS[number % len(QUESTIONS)], _LONGEST), key):
                    if not spoke and text_of(event):
                        seen.first.append(time.monotonic() - begun)
                        spoke = True
                    pieces += 1
            except (OSError, ValueError) as error:
                seen.errors.append(repr(error))
            number += 1
        seen.pieces.append(pieces)

    await asyncio.gather(*(client(number) for number in range(_CLIENTS)))
    return seen


if __name__ == "__main__":
    main()
