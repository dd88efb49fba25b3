"""Claim: minikin trains at least 1.5 times as many tokens a second as a plain Transformers + AdamW loop.

    python benchmarks/training.py [--recipe recipes/village.toml] [--blocks 10] [--steps 12] [--threads 2]

All loops train the recipe's first member on the same packed rows, with the same third of the tokens counting. The plain
loop is float32, as everybody's first one is; beside it stand the plain loop under bfloat16 autocast and minikin held to
float32, to tell precision from the rest. What minikin leaves out (hidden states and logits that no loss asks for), how
it treats memory, and its optimizer are part of what is compared. Each loop lives in a process of its own; they take
turns in short blocks of steps, so that whatever else the machine does meets all. Ratios are medians over neighbouring
blocks.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from conditions import conditions, options
from torch.profiler import ProfilerActivity, profile
from transformers import Gemma4ForCausalLM, Gemma4TextConfig

from minikin.base.device import prepare, products_dtype
from minikin.family.plan import plan
from minikin.family.reading import read_recipe
from minikin.family.recipe import Recipe
from minikin.model.checkpoint import stored_config
from minikin.model.config import Config
from minikin.model.decoder import initialized
from minikin.text.batches import Batch
from minikin.train.objective import NextToken
from minikin.train.optimizer import Optimizers, Schedule

PLAIN = "transformers"
LOOPS = {
    PLAIN: torch.float32,
    "transformers, bfloat16": torch.bfloat16,
    "minikin, float32": torch.float32,
    "minikin": products_dtype("auto"),
}
_WARM_UP, _WEIGHTS_SEED = 3, 1
_PRODUCTS = ("aten::mm", "aten::bmm", "aten::addmm", "aten::baddbmm", "aten::addmm_", "mkldnn::_linear_pointwise")


def rows(config: Config, recipe: Recipe) -> Batch:
    """One step's rows: random tokens, four documents a row, two thirds of the tokens not the answer."""
    assert recipe.member[recipe.first].train is not None
    length = recipe.data.sequence_length
    count = max(1, recipe.member[recipe.first].train.batch_tokens // length)
    generator = torch.Generator().manual_seed(recipe.seed)
    tokens = torch.randint(6, config.vocab_size, (count, length + 1), generator=generator)
    place = torch.arange(length).expand(count, -1)
    answer = torch.rand(count, length, generator=generator) < 1 / 3
    return Batch(
        tokens=tokens[:, :-1],
        targets=tokens[:, 1:],
        weights=torch.where(answer, 1.0, recipe.data.prompt_weight),
        positions=place % (length // 4),
        documents=place // (length // 4),
        replies=torch.zeros_like(tokens[:, :-1], dtype=torch.bool),
    )


def plain_transformers(config: Config, batch: Batch, dtype: torch.dtype) -> Callable[[], None]:
    """The loop that everybody writes first."""
    fields = {name: value for name, value in stored_config(config).items() if name != "architectures"}
    model = Gemma4ForCausalLM(Gemma4TextConfig(**fields))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    labels = batch.tokens.clone()
    labels[:, 1:][batch.weights[:, :-1] == 0] = -100

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
            loss = model(input_ids=batch.tokens, labels=labels).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()

    return step


def minikin(config: Config, batch: Batch, dtype: torch.dtype) -> Callable[[], None]:
    """What `minikin build` does in a step."""
    decoder = initialized(config, torch.Generator().manual_seed(_WEIGHTS_SEED))
    optimizers = Optimizers(decoder, Schedule(peak=1e-3, steps=10_000, warmup=0.1, decay=0.1), 0.05, 1.0, dtype)
    objective = NextToken()

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
            losses = objective.losses(decoder, batch)
        torch.stack(list(losses.values())).sum().backward()
        optimizers.step(0)

    return step


def serve(loop: str, recipe: Recipe, threads: int) -> None:
    """Run a block of steps for every line that comes in; say how long it took, and at the end what took it."""
    ours = loop.startswith("minikin")
    if ours:
        prepare(threads)
    torch.set_num_threads(threads)
    config = plan(recipe)[recipe.first].config
    batch = rows(config, recipe)
    step = (minikin if ours else plain_transformers)(config, batch, LOOPS[loop])
    for _ in range(_WARM_UP):
        step()
    print("ready", flush=True)
    for line in sys.stdin:
        if line.strip() == "profile":
            print(json.dumps(share_of_products(step)), flush=True)
            continue
        step()  # the other loop had the caches until now
        started = time.perf_counter()
        for _ in range(int(line)):
            step()
        print(time.perf_counter() - started, flush=True)


def share_of_products(step: Callable[[], None]) -> float:
    """Part of the processor time that matrix products take, over five steps."""
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        for _ in range(5):
            step()
    averages = profiled.key_averages()
    total = sum(event.self_cpu_time_total for event in averages)
    return sum(event.self_cpu_time_total for event in averages if event.key in _PRODUCTS) / total


def main() -> None:
    """Start both loops, let them take turns, print the ratio."""
    parser = options(__doc__)
    parser.add_argument("--recipe", type=Path, default=Path("recipes/village.toml"))
    parser.add_argument("--blocks", type=int, default=10)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--loop", choices=list(LOOPS), help=argparse.SUPPRESS)
    asked = parser.parse_args()
    recipe = read_recipe(asked.recipe)
    if asked.loop:
        serve(asked.loop, recipe, asked.threads)
        return
    command = [sys.executable, __file__, "--recipe", str(asked.recipe), "--threads", str(asked.threads), "--loop"]
    pipe = subprocess.PIPE
    loops = {name: subprocess.Popen([*command, name], stdin=pipe, stdout=pipe, text=True) for name in LOOPS}
    for loop in loops.values():
        _answer(loop)
    seconds = [{name: float(_ask(loop, asked.steps)) for name, loop in loops.items()} for _ in range(asked.blocks)]
    shares = {name: json.loads(_ask(loop, "profile")) for name, loop in loops.items()}
    for loop in loops.values():
        loop.communicate()
    batch = rows(plan(recipe)[recipe.first].config, recipe)
    tokens = asked.steps * batch.tokens.numel()
    n = f"{asked.blocks} blocks of {tokens:,} tokens each"
    print(conditions(threads=asked.threads, n=n, seed=f"{recipe.seed}, the rows; {_WEIGHTS_SEED}, the weights"))
    _show(seconds, shares, tokens)


def _ask(loop: subprocess.Popen[str], question: object) -> str:
    assert loop.stdin is not None
    loop.stdin.write(f"{question}\n")
    loop.stdin.flush()
    return _answer(loop)


def _answer(loop: subprocess.Popen[str]) -> str:
    assert loop.stdout is not None
    line = loop.stdout.readline()
    if not line:
        sys.exit("a loop ended early; what it said is above")
    return line


def _show(seconds: list[dict[str, float]], shares: dict[str, float], tokens: int) -> None:
    for name in LOOPS:
        speed = statistics.median(tokens / block[name] for block in seconds)
        ratios = sorted(block[PLAIN] / block[name] for block in seconds)
        print(
            f"{name:>22}: {speed:8,.0f} tokens/s, {shares[name]:.0%} of the time in matrix products; "
            f"ratio to {PLAIN} {statistics.median(ratios):.2f} (all pairs {ratios[0]:.2f} to {ratios[-1]:.2f})"
        )


if __name__ == "__main__":
    main()
