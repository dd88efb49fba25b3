"""Claim: what the token tables cost a training step does not grow with the vocabulary.

    python benchmarks/tables.py [--vocabularies 20000 200064] [--tokens 256] [--steps 7] [--threads 2]

Trains the published mini's shape on random tokens, every one of which counts; a step's tokens are new ones, so nearly
every one touches a row of its own. Beside it stands the same with a dense gradient and AdamW for the table, where that
fits into memory: weights, gradient and two moments. Each case lives in a process of its own; times are medians.
"The table" is measured apart, in the same process: lookup, gradient into the rows, norm, clipping and optimizer of
this one tensor. What is left grows with the vocabulary by nature: the head scores every token, and learns from it.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import torch
from conditions import conditions, options
from torch import nn

from minikin.base.device import prepare, products_dtype
from minikin.family.plan import plan
from minikin.family.reading import read_recipe
from minikin.model.config import Config
from minikin.model.decoder import Decoder, empty
from minikin.model.norm import RMSNorm
from minikin.text.batches import Batch
from minikin.train.objective import NextToken
from minikin.train.optimizer import Optimizers, Schedule

RECIPE = Path(__file__).parents[1] / "recipes" / "published.toml"
ROWS, DENSE = "row by row", "dense AdamW"
_WARM_UP, _WEIGHTS_SEED, _TOKENS_SEED = 3, 1, 2
_BLOCK = 1000  # rows drawn of a table, and repeated: drawing 1.2 billion numbers would take longer than all steps
_SAFE = 0.75  # share of the free memory that a case may need


def shape(vocab_size: int) -> Config:
    """The published mini's, over another vocabulary."""
    return replace(plan(read_recipe(RECIPE))["mini"].config, vocab_size=vocab_size)


def random_decoder(config: Config) -> Decoder:
    """Weights that no step has seen; those of large tensors repeat."""
    decoder = empty(config)
    generator = torch.Generator().manual_seed(_WEIGHTS_SEED)
    with torch.no_grad():
        for tensor in decoder.state_dict().values():
            if tensor.ndim == 1:
                tensor.fill_(1.0)
                continue
            tensor[:_BLOCK].normal_(0.0, 0.02, generator=generator)
            for part in tensor[_BLOCK:].split(_BLOCK):
                part.copy_(tensor[: len(part)])
    return decoder


def batches(config: Config, tokens: int) -> Iterator[Batch]:
    """One row of random tokens a step."""
    generator = torch.Generator().manual_seed(_TOKENS_SEED)
    places = torch.arange(tokens)[None]
    while True:
        drawn = torch.randint(6, config.vocab_size, (1, tokens + 1), generator=generator)
        yield Batch(
            tokens=drawn[:, :-1],
            targets=drawn[:, 1:],
            weights=torch.ones(1, tokens),
            positions=places,
            documents=torch.zeros_like(places),
            replies=torch.zeros_like(places, dtype=torch.bool),
        )


def optimizers_of(module: nn.Module, dtype: torch.dtype) -> Optimizers:
    """As `minikin build` makes them."""
    return Optimizers(module, Schedule(peak=1e-3, steps=10_000, warmup=0.1, decay=0.1), 0.05, 1.0, dtype)


def whole_step(decoder: Decoder, given: Iterator[Batch], dtype: torch.dtype) -> Callable[[], None]:
    """What `minikin build` does in a step."""
    optimizers, objective = optimizers_of(decoder, dtype), NextToken()

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
            losses = objective.losses(decoder, next(given))
        torch.stack(list(losses.values())).sum().backward()
        optimizers.step(0)

    return step


def table_step(table: nn.Embedding, given: Iterator[Batch], dtype: torch.dtype) -> Callable[[], None]:
    """The part of a step that the table alone causes; a scale stands beside it, for AdamW wants a parameter."""
    optimizers = optimizers_of(nn.ModuleDict({"embed_tokens_per_layer": table, "norm": RMSNorm(1, 1e-6)}), dtype)
    slopes: list[torch.Tensor] = []

    def step() -> None:
        rows = table(next(given).tokens)
        slopes[:] = slopes or [torch.randn_like(rows)]
        rows.backward(slopes[0])
        optimizers.step(0)

    return step


def median_seconds(step: Callable[[], None], count: int) -> float:
    """Of one step, after some that warm up."""
    for _ in range(_WARM_UP):
        step()
    seconds = []
    for _ in range(count):
        started = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)


def measure(kind: str, vocab_size: int, asked: argparse.Namespace) -> dict[str, float]:
    """Seconds and bytes of one case."""
    prepare(asked.threads)
    config, dtype = shape(vocab_size), products_dtype("auto")
    decoder, given = random_decoder(config), batches(config, asked.tokens)
    assert decoder.tables is not None
    table = decoder.tables.embed_tokens_per_layer
    table.sparse = kind == ROWS
    before = psutil.Process().memory_info().rss
    whole = median_seconds(whole_step(decoder, given, dtype), asked.steps)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    alone = median_seconds(table_step(table, given, dtype), asked.steps)
    return {"whole": whole, "table": alone, "before": before, "peak": peak}


def needed_bytes(kind: str, vocab_size: int) -> int:
    """Roughly: the table, when dense its gradient and moments too; the same of the head, and what makes them."""
    config = shape(vocab_size)
    table = vocab_size * config.num_hidden_layers * config.hidden_size_per_layer_input * 4
    return table * (1 if kind == ROWS else 4) + vocab_size * config.hidden_size * 4 * 7 + 10**9


def main() -> None:
    """Measure every case that fits, one after the other, and print a line each."""
    parser = options(__doc__)
    parser.add_argument("--vocabularies", type=int, nargs="+", default=[20_000, 200_064])
    parser.add_argument("--tokens", type=int, default=256)
    parser.add_argument("--steps", type=int, default=7)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--case", nargs=2, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.case:
        print(json.dumps(measure(asked.case[0], int(asked.case[1]), asked)))
        return
    n = f"median of {asked.steps} steps of {asked.tokens} tokens, products in {products_dtype('auto')}"
    print(conditions(threads=asked.threads, n=n, seed=f"{_WEIGHTS_SEED}, the weights; {_TOKENS_SEED}, the tokens"))
    print(f"{'table':>12} {'vocabulary':>10} {'step':>9} {'the table':>9} {'all else':>9} {'weights':>8} {'peak':>8}")
    for vocab_size in asked.vocabularies:
        for kind in (ROWS, DENSE):
            print(f"{kind:>12} {vocab_size:10,} {_line(kind, vocab_size, asked)}", flush=True)


def _line(kind: str, vocab_size: int, asked: argparse.Namespace) -> str:
    needed, free = needed_bytes(kind, vocab_size), psutil.virtual_memory().available
    if needed > _SAFE * free:
        return f"not run: would need about {needed / 1e9:.1f} GB, {free / 1e9:.1f} are free"
    options = (f"--{name}={getattr(asked, name)}" for name in ("tokens", "steps", "threads"))
    command = [sys.executable, __file__, *options, "--case", kind, str(vocab_size)]
    found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    whole, table = found["whole"] * 1e3, found["table"] * 1e3
    sizes = f"{found['before'] / 1e9:5.2f} GB {found['peak'] / 1e9:5.2f} GB"
    return f"{whole:6,.0f} ms {table:6,.1f} ms {whole - table:6,.0f} ms {sizes}"


if __name__ == "__main__":
    main()
