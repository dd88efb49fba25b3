"""Claim: 64 clients stream at once without an error, each as fast as the others; told beside what llama.cpp's own
server gives them.

    python benchmarks/serve_load.py MEMBER [--seconds 120] [--engine NAME] [--threads N]

Two minutes with our server, then two with llama.cpp's own, with as many slots; if llama.cpp answers here, too, on the
same GGUF file.
"""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from baseline import FORGETFUL, LIKELIEST
from conditions import conditions
from serving import QUESTIONS, arguments, body, events, memory, served, share_within, text_of

from minikin.app.engines import gguf_file
from minikin.engine.child import Child
from minikin.model.checkpoint import read_config

_CLIENTS, _WARM, _LONGEST = 64, 10, 64  # clients; seconds; tokens
_COUNTED = {"stream_options": {"include_usage": True}}


@dataclass(kw_only=True)
class Seen:
    """What all clients met with: seconds to each first text, and the tokens that each client heard."""

    first: list[float] = field(default_factory=list[float])
    tokens: list[int] = field(default_factory=list[int])
    errors: list[str] = field(default_factory=list[str])
    answers: int = 0
    seconds: float = 0.0

    def told(self) -> str:
        """In a line."""
        if not self.first:
            return f"nobody heard anything, {len(self.errors)} errors {self.errors[:2]}"
        p50, p95 = (1000 * share_within(self.first, share) for share in (0.5, 0.95))
        least = 100 * min(self.tokens) / max(self.tokens)
        return (
            f"{self.answers / self.seconds:.1f} answers/s, {sum(self.tokens) / self.seconds:.0f} tokens/s, first text "
            f"after {p50:.0f} ms (p50), {p95:.0f} ms (p95), the slowest client heard {least:.0f} % of the fastest, "
            f"{len(self.errors)} errors" + "".join(f" {error}" for error in self.errors[:2])
        )


def main() -> None:
    """Both servers."""
    asked = arguments(__doc__)
    asked.add_argument("--seconds", type=float, default=120, help="that each of both servers is asked (120)")
    given = asked.parse_args()
    n = f"{_CLIENTS} clients for {given.seconds:g} s a server, after {_WARM} s to warm up"
    print(conditions(threads=given.threads, n=n, seed="nothing is drawn"), flush=True)
    with served(given, slots=_CLIENTS, queue=_CLIENTS) as (address, process):
        asyncio.run(_clients(address, given.member, _WARM, _COUNTED))
        before = memory(process)
        seen = asyncio.run(_clients(address, given.member, given.seconds, _COUNTED))
        print(f"minikin: {seen.told()}; memory {before:.0f} → {memory(process):.0f} MB")
    config = read_config(given.member)
    room = _CLIENTS * config.max_position_embeddings * config.kv_bytes_per_token()
    child = Child(
        gguf_file(given.member, "q8_0"),
        slots=_CLIENTS,
        context=config.max_position_embeddings,
        threads=given.threads,
        together=given.threads,
        memory=room,
    )
    try:
        asked_alike = (_COUNTED | LIKELIEST | FORGETFUL, child.key)
        asyncio.run(_clients(child.address(), given.member, _WARM, *asked_alike))
        seen = asyncio.run(_clients(child.address(), given.member, given.seconds, *asked_alike))
        print(f"llama.cpp's own server: {seen.told()}")
    finally:
        child.close()


async def _clients(address: str, member: Path, seconds: float, more: Mapping[str, Any], key: str = "") -> Seen:
    """All ask, one answer after the other, with so much `more` than a question."""
    seen, started = Seen(), time.monotonic()

    async def client(number: int) -> None:
        tokens = 0
        while time.monotonic() - started < seconds:
            try:
                question = QUESTIONS[number % len(QUESTIONS)]
                tokens += await _answer(address, body(member, question, _LONGEST, **more), key, seen)
            except (OSError, ValueError) as error:
                seen.errors.append(repr(error))
            number += 1
        seen.tokens.append(tokens)

    await asyncio.gather(*(client(number) for number in range(_CLIENTS)))
    seen.seconds = time.monotonic() - started
    return seen


async def _answer(address: str, asked: dict[str, Any], key: str, seen: Seen) -> int:
    """How many tokens it had; one that breaks off leaves nothing in what was seen."""
    begun, first, tokens = time.monotonic(), None, None
    async for event in events(address, asked, key):
        if first is None and text_of(event):
            first = time.monotonic() - begun
        tokens = (event.get("usage") or {}).get("completion_tokens", tokens)
    if tokens is None:
        raise ValueError("an answer without usage")
    seen.answers += 1
    seen.first += [] if first is None else [first]
    return tokens


if __name__ == "__main__":
    main()
