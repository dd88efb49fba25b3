"""Claim: through our front llama.cpp writes as fast as its own server streams, within 3 %.

    python benchmarks/decode_front.py MEMBER… [--runs 16] [--threads N]

Both write 400 tokens after the same 16, in turns, so that whatever else slows the machine slows both; told are the
medians and the median of the ratios of pairs. `streams` is what reads the bytes of llama.cpp's server and does nothing
with them.
"""

import argparse
from pathlib import Path
from statistics import median, quantiles

import decode
from conditions import conditions, options
from rich.console import Console
from rich.table import Table

from minikin.app.engines import gguf_file, opened
from minikin.base.device import prepare_to_answer
from minikin.model.checkpoint import read_config
from minikin.ship.llamacpp import LlamaCpp

_WRITTEN, _READ, _BITS = 400, 16, ("q8_0", "q4_0")


def main() -> None:
    """A row a member and type."""
    given = _arguments().parse_args()
    print(conditions(threads=given.threads, n=f"{given.runs} pairs", seed="a run's number, its prompt"), flush=True)
    prepare_to_answer(given.threads)
    table = Table("member", "type", "front, tokens/s", "streams, tokens/s", "ratio of pairs (middle half)")
    for member in given.members:
        for kind in _BITS:
            pairs = _pairs(member, kind, given)
            front, streams = (_WRITTEN / median(side) for side in zip(*pairs, strict=True))
            low, middle, high = quantiles([theirs / ours for ours, theirs in pairs])
            table.add_row(
                str(member), kind, f"{front:,.0f}", f"{streams:,.0f}", f"{middle:.3f} ({low:.3f} to {high:.3f})"
            )
    Console(width=110).print(table)


def _arguments() -> argparse.ArgumentParser:
    asked = options(__doc__)
    asked.add_argument("members", nargs="+", type=Path, help="folders, such as families/village/nano")
    asked.add_argument("--runs", type=int, default=16, help="pairs a member and type (16)")
    asked.add_argument("--threads", type=int, default=2, help="that both compute with (2)")
    return asked


def _pairs(member: Path, kind: str, given: argparse.Namespace) -> list[tuple[float, float]]:
    """Seconds through our front and of llama.cpp's own server, run by run; the first pair, to warm up, is left out."""
    engine = opened(member, "llama.cpp", kind, slots=1, queue=1)
    ends = {"logit_bias": dict.fromkeys(read_config(member).eos_token_ids, -100.0)}
    context = _READ + _WRITTEN + 8
    found = []
    try:
        with LlamaCpp(gguf_file(member, kind), threads=given.threads, context=context) as server:
            for run in range(given.runs + 1):
                prompt = decode.prompt_of(member, _READ, run)
                ours = decode.seconds_of(engine, prompt, _WRITTEN, ends)
                found.append((ours, decode.seconds_streamed(server, prompt, _WRITTEN)))
    finally:
        engine.close()
    return found[1:]


if __name__ == "__main__":
    main()
