"""Where the time of a written token goes, found by leaving parts out, the same way for every engine.

    python benchmarks/decode_parts.py RECIPE MEMBER… [--threads N]

A member of a recipe is written with random weights, whole and with parts left out; the differences are what the parts
take, beside what reading their weights once would take:

- head: what it takes longer than with 512 tokens in the vocabulary (and in the tables, of which a row is read)
- blocks: what it takes longer than with some two thirds of the layers, times three or what is true of their number
- dispatch: of the blocks' time, what is left if all widths are next to nothing: starting operations
- sampling: what drawing at temperature 0.8 adds to taking the likeliest token
- rest: what is neither head nor blocks: embedding, tables, choosing a token, telling it
"""

import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from conditions import conditions, options
from decode import RUNS, bandwidth, in_process, multiplied_bytes
from rich.console import Console
from rich.table import Table

from minikin.family.plan import plan
from minikin.family.reading import read_recipe
from minikin.model.checkpoint import read_config, save_initial
from minikin.model.config import Config
from minikin.text.chat import chat_template
from minikin.text.tokenizer import Tokenizer

_ENGINES = ("torch", "llama.cpp q8_0", "llama.cpp q4_0")
_FEW, _NARROW, _SEED = 512, 32, 1
_COLUMNS = ("engine", "token, µs", "head", "blocks", "dispatch", "rest", "sampling", "bound: head", "bound: blocks")


def main() -> None:
    """All members with all engines."""
    asked = options(__doc__)
    asked.add_argument("recipe", type=Path, help="such as recipes/village.toml")
    asked.add_argument("members", nargs="+", help="such as nano")
    asked.add_argument("--threads", type=int, default=2, help="that every engine computes with (2)")
    given = asked.parse_args()
    n = f"{RUNS} runs each, the fastest of which counts"
    seed = f"{_SEED}, the weights; 0 to {RUNS - 1}, the prompts of these runs; 0, what is sampled"
    print(conditions(threads=given.threads, n=n, seed=seed), flush=True)
    planned, speed = plan(read_recipe(given.recipe, ())), bandwidth(given.threads)
    for name in given.members:
        table = Table(title=f"{name}: {given.threads} threads, memory is read at {speed / 1e9:.1f} GB/s; µs a token")
        for heading in _COLUMNS:
            table.add_column(heading, justify="left" if heading == "engine" else "right")
        with tempfile.TemporaryDirectory() as folder:
            variants = _written(planned[name].config, Path(folder))
            for engine in _ENGINES:
                table.add_row(engine, *(f"{each:,.0f}" for each in _parts(variants, engine, given.threads, speed)))
        Console(width=120).print(table)


def _written(config: Config, folder: Path) -> dict[str, Path]:
    if config.num_kv_shared_layers:
        raise SystemExit(
            "layers that share keys and values are of two kinds, and cannot be counted by leaving some out"
        )
    kept = config.num_hidden_layers - config.num_hidden_layers // 3
    narrow = {
        "hidden_size": _NARROW,
        "intermediate_size": _NARROW,
        "head_dim": min(_NARROW, config.head_dim),
        "global_head_dim": None,
        "hidden_size_per_layer_input": min(_NARROW, config.hidden_size_per_layer_input),
    }
    fewer = {"num_hidden_layers": kept, "layer_types": config.layer_types[-kept:]}
    tiny = replace(config, vocab_size=_FEW, **narrow)
    configs = {
        "whole": config,
        "fewer": replace(config, **fewer),
        "headless": replace(config, vocab_size=_FEW),
        "tiny": tiny,
        "fewer of tiny": replace(tiny, **fewer),
    }
    for name, each in configs.items():
        (folder / name).mkdir()
        save_initial(each, folder / name, torch.bfloat16, _SEED, lambda _: None)
        Tokenizer.of_bytes(each.vocab_size).save(folder / name, each.max_position_embeddings, chat_template())
    return {name: folder / name for name in configs}


def _parts(variants: Mapping[str, Path], engine: str, threads: int, speed: float) -> list[float]:
    """Microseconds, in the order of the columns."""
    layers = [read_config(variants[name]).num_hidden_layers for name in ("whole", "fewer")]
    all_of = layers[0] / (layers[0] - layers[1])  # for those that one has and the other has not
    taken = {name: 1e6 / in_process(path, engine, threads)["written"] for name, path in variants.items()}
    drawn = 1e6 / in_process(variants["whole"], engine, threads, temperature=0.8)["written"]
    bytes_ = {name: multiplied_bytes(path, engine) for name, path in variants.items()}
    bound = {name: 1e6 * size / speed for name, size in bytes_.items()}
    head, blocks = taken["whole"] - taken["headless"], all_of * (taken["whole"] - taken["fewer"])
    dispatch = all_of * (taken["tiny"] - taken["fewer of tiny"])
    rest, sampling = taken["whole"] - head - blocks, drawn - taken["whole"]
    least = (bound["whole"] - bound["headless"], all_of * (bound["whole"] - bound["fewer"]))
    return [taken["whole"], head, blocks, dispatch, rest, sampling, *least]


if __name__ == "__main__":
    main()
