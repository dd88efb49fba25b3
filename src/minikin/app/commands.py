"""What the commands do: read what the user named, call the family floor, print the result."""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Literal

from rich.console import Console
from rich.table import Table

from minikin.app.talk import talk
from minikin.base.device import prepare
from minikin.base.files import read_json
from minikin.base.log import Log
from minikin.family.build import build as build_family
from minikin.family.build import evaluate as evaluate_family
from minikin.family.plan import PlannedMember
from minikin.family.plan import plan as plan_family
from minikin.family.reading import checked, overridden, read_recipe
from minikin.family.recipe import Recipe
from minikin.measure.records import FamilyReport
from minikin.measure.report import HTML, read_report
from minikin.measure.terminal import tables


def build(path: Path, overrides: Sequence[str], out: Path | None) -> None:
    """`minikin build`."""
    recipe = read_recipe(path, overrides)
    root = out or Path("families") / recipe.name
    _show(build_family(recipe, root, _log(root)), root)


def plan(path: Path, overrides: Sequence[str], form: Literal["json", "table"]) -> None:
    """`minikin plan`."""
    planned = plan_family(read_recipe(path, overrides))
    if form == "json":
        sys.stdout.write(json.dumps({name: _counted(member) for name, member in planned.items()}, indent=2) + "\n")
    else:
        _stdout().print(_plan_table(planned))


def evaluate(root: Path, overrides: Sequence[str]) -> None:
    """`minikin evaluate`."""
    recipe = _built_recipe(root, overrides)
    _show(evaluate_family(recipe, root, _log(root)), root)


def report(root: Path) -> None:
    """`minikin report`."""
    _show(read_report(root), root)


def chat(member: Path, temperature: float, top_p: float, seed: int) -> None:
    """`minikin chat`."""
    prepare()
    talk(member, temperature, top_p, seed)


def _built_recipe(root: Path, overrides: Sequence[str]) -> Recipe:
    path = root / "recipe.json"
    return checked(overridden(read_json(path), overrides), str(path))


def _show(report: FamilyReport, root: Path) -> None:
    _stdout().print(tables(report))
    sys.stdout.write(f"report: {(root / HTML).resolve()}\n")


def _log(root: Path) -> Log:
    return Log(root / "log.jsonl", Console(stderr=True))


def _stdout() -> Console:
    # a pipe has no width; 100 columns keep the tables whole
    return Console() if sys.stdout.isatty() else Console(width=100)


def _counted(member: PlannedMember) -> dict[str, object]:
    config = member.config
    return {
        "shape": asdict(config),
        "parameters": config.parameters,
        "multiplied": config.multiplied,
        "looked_up": config.looked_up,
        "flops_per_token": config.flops_per_token(),
        "bytes": {bits: config.bytes_at(bits) for bits in (16, 8, 4)},
        "kv_bytes_per_token": config.kv_bytes_per_token(),
        "training_tokens": member.training_tokens,
        "training_flops": member.training_flops_per_token * member.training_tokens,
        "compute_ratio": member.compute_ratio,
        "memory_ratio": member.memory_ratio,
    }


def _plan_table(planned: dict[str, PlannedMember]) -> Table:
    table = Table("", title="planned family, counted")
    for name in planned:
        table.add_column(name, justify="right")
    for title, cell in _PLAN_ROWS.items():
        table.add_row(title, *(cell(member) for member in planned.values()))
    return table


_PLAN_ROWS = {
    "layers × hidden size": lambda m: f"{m.config.num_hidden_layers} × {m.config.hidden_size}",
    "feed-forward": lambda m: f"{m.config.intermediate_size}",
    "query / key-value heads × size": lambda m: (
        f"{m.config.num_attention_heads} / {m.config.num_key_value_heads} × {m.config.head_dim}"
    ),
    "table width a layer": lambda m: f"{m.config.hidden_size_per_layer_input}",
    "parameters": lambda m: f"{m.config.parameters:,}",
    "  multiplied": lambda m: f"{m.config.multiplied:,}",
    "  looked up": lambda m: f"{m.config.looked_up:,}",
    "operations a token": lambda m: f"{m.config.flops_per_token():,}",
    "MB at 16 / 8 / 4 bits": lambda m: " / ".join(f"{m.config.bytes_at(bits) / 1e6:.2f}" for bits in (16, 8, 4)),
    "KV bytes a token": lambda m: f"{m.config.kv_bytes_per_token():,}",
    "training tokens": lambda m: f"{m.training_tokens:,}",
    "training operations": lambda m: f"{m.training_flops_per_token * m.training_tokens:.2e}",
    "compute against the first": lambda m: f"{m.compute_ratio:.1%}",
    "memory against the first": lambda m: f"{m.memory_ratio:.1%}",
}
