"""Claim: the published sizes are real on a small machine: written, loaded, trained a step, and made to generate.

    python benchmarks/published.py FOLDER [MEMBER…]

Writes each member of recipes/published.toml with random weights in bfloat16 below FOLDER (full alone takes 10.5 GB),
each part in a process of its own, and prints how long it took and the most memory that was resident: writing it;
reading 256 tokens and writing 64 with the weights mapped; three training steps of 128 tokens, tables row by row.
Members that are there already are not written again.
"""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from io import StringIO
from pathlib import Path

import torch
from conditions import conditions
from rich.console import Console
from rich.table import Table

from minikin.base.device import prepare, products_dtype
from minikin.base.log import Log
from minikin.base.memory import peak_bytes
from minikin.base.seeds import torch_generator
from minikin.family.initial import write_initial
from minikin.family.reading import read_recipe
from minikin.measure.efficiency import efficiency
from minikin.model.checkpoint import in_memory, load
from minikin.text.batches import Batch
from minikin.train.objective import NextToken
from minikin.train.optimizer import Optimizers, Schedule

_RECIPE = Path(__file__).parents[1] / "recipes" / "published.toml"
_TOKENS, _STEPS, _SEED = 128, 3, 1
_COLUMNS = ("member", "GB on disk", "written in", "peak", "prefill", "decode", "peak", "training step", "rows", "peak")


def main() -> None:
    """Measure the named members, or all."""
    root, recipe = Path(sys.argv[1]), read_recipe(_RECIPE)
    threads = torch.get_num_threads()
    n = f"the shortest of {_STEPS} training steps; reading and writing as in a family's report"
    print(conditions(threads=threads, n=n, seed=f"{_SEED}, the rows; {recipe.seed}, the weights"), flush=True)
    table = Table(title=f"published members, random weights in bfloat16, {threads} threads")
    for position, title in enumerate(_COLUMNS):
        table.add_column(title, justify="right" if position else "left")
    for name in sys.argv[2:] or recipe.member:
        table.add_row(name, *_row(root, name, threads))
    Console(width=140).print(table)


def _row(root: Path, name: str, threads: int) -> tuple[str, ...]:
    written = {} if (root / name / "config.json").is_file() else _apart("write", root, name)
    cost, trained = efficiency(root / name, threads), _apart("train", root, name)
    return (
        f"{cost.file_bytes / 1e9:.2f}",
        f"{written['seconds']:.0f} s" if written else "–",
        _megabytes(written["peak"]) if written else "–",
        f"{cost.prefill_tokens_per_second:,.0f} tok/s",
        f"{cost.decode_tokens_per_second:,.1f} tok/s",
        _megabytes(cost.peak_rss_bytes),
        f"{trained['seconds']:.2f} s",
        f"{trained['rows']:,.0f}",
        _megabytes(trained["peak"]),
    )


def write(root: Path, name: str) -> dict[str, float]:
    """Write a member."""
    started = time.monotonic()
    log = Log(root / "log.jsonl", Console(file=StringIO()))
    write_initial(read_recipe(_RECIPE), [name], root, torch.bfloat16, log)
    return {"seconds": time.monotonic() - started}


def train(root: Path, name: str) -> dict[str, float]:
    """The shortest of a few training steps."""
    prepare()
    decoder = in_memory(load(root / name)).train()
    schedule = Schedule(peak=0.001, steps=_STEPS, warmup=0.0, decay=0.0)
    dtype = products_dtype("auto")
    optimizers = Optimizers(decoder, schedule, 0.0, 1.0, dtype)
    seconds = []
    for step in range(_STEPS):
        batch, started = _batch(step, decoder.config.vocab_size), time.monotonic()
        with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
            loss = torch.stack(list(NextToken().losses(decoder, batch).values())).sum()
        loss.backward()
        optimizers.step(step)
        seconds.append(time.monotonic() - started)
    touched = sum(len(state) for key, state in optimizers.tensors().items() if key.endswith(".row"))
    return {"seconds": min(seconds), "rows": touched}


def _batch(step: int, vocab_size: int) -> Batch:
    tokens = torch.randint(vocab_size, (1, _TOKENS + 1), generator=torch_generator(_SEED, "published", step))
    return Batch(
        tokens=tokens[:, :-1],
        targets=tokens[:, 1:],
        weights=torch.ones(1, _TOKENS),
        positions=torch.arange(_TOKENS)[None],
        documents=torch.zeros(1, _TOKENS, dtype=torch.int64),
        replies=torch.zeros(1, _TOKENS, dtype=torch.bool),
    )


def _apart(part: str, root: Path, name: str) -> dict[str, float]:
    command = [sys.executable, __file__, "--only", part, str(root), name]
    return json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)


def _megabytes(count: float) -> str:
    return f"{count / 1e6:,.0f} MB"


_PARTS: dict[str, Callable[[Path, str], dict[str, float]]] = {"write": write, "train": train}

if __name__ == "__main__":
    if sys.argv[1] == "--only":
        found = _PARTS[sys.argv[2]](Path(sys.argv[3]), sys.argv[4])
        sys.stdout.write(json.dumps(found | {"peak": peak_bytes()}))
    else:
        main()
