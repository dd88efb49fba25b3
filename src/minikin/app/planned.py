"""The plan as a table and as JSON: what every member will be and cost, beside what a publication says of it."""

from collections.abc import Callable, Iterator
from dataclasses import asdict

from rich.table import Table

from minikin.family.plan import PlannedMember
from minikin.family.recipe import Hardware, Published, Recipe

Cell = Callable[[PlannedMember], str]
_SIGNS = {True: "✓", False: "✗"}


def plan_table(recipe: Recipe, planned: dict[str, PlannedMember]) -> Table:
    """A column a member."""
    hardware = recipe.hardware
    table = Table("", title=f"{recipe.name}: planned and counted, not measured", title_justify="left")
    table.caption = (
        "8 and 4 bits with one 16-bit scale in 32 weights.\n"
        f"GPU-hours: {hardware.name}, {hardware.utilisation:.0%} of {hardware.flops_per_second / 1e12:,.0f} TFLOP/s"
    )
    for name in planned:
        table.add_column(name, justify="right")
    for title, cell in _ROWS.items():
        table.add_row(title, *(cell(member) for member in planned.values()))
    table.add_row("GPU-hours", *(_hours(gpu_hours(member, hardware)) for member in planned.values()))
    published = {name: dict(_published(recipe.member[name].published, member)) for name, member in planned.items()}
    for title in dict.fromkeys(title for rows in published.values() for title in rows):
        table.add_row(title, *(rows.get(title, "–") for rows in published.values()))
    return table


def plan_json(recipe: Recipe, planned: dict[str, PlannedMember]) -> dict[str, object]:
    """The same figures for programs, a member each."""
    return {
        name: _counted(member)
        | {
            "gpu_hours": gpu_hours(member, recipe.hardware),
            "published": recipe.member[name].published.model_dump(exclude_none=True),
        }
        for name, member in planned.items()
    }


def gpu_hours(member: PlannedMember, hardware: Hardware) -> float:
    """Time that training takes on one device at the stated utilisation."""
    return member.training_flops / (hardware.flops_per_second * hardware.utilisation) / 3600


def _published(published: Published, member: PlannedMember) -> Iterator[tuple[str, str]]:
    """What was published, and how the count stands to it."""
    config = member.config
    if published.parameters:
        deviation = config.parameters / published.parameters - 1
        yield "published parameters", f"{_short(published.parameters)}, is {deviation:+.1%}"
    for title, name in (("published layers", "num_hidden_layers"), ("published hidden size", "hidden_size")):
        if (said := getattr(published, name)) is not None:
            yield title, f"{said} {_SIGNS[said == getattr(config, name)]}"
    for name, ratio in (("memory", member.memory_ratio), ("compute", member.compute_ratio)):
        if (said := getattr(published, name)) is not None:
            yield f"published {name}", f"1/{1 / said:.3g}, is 1/{1 / ratio:.3g} {_SIGNS[ratio <= said]}"


def _short(parameters: float) -> str:
    return f"{parameters / 1e9:.3g} B" if parameters >= 1e9 else f"{parameters / 1e6:.3g} M"


def _hours(hours: float) -> str:
    return "under 0.01" if hours < 0.01 else f"{hours:,.3g}"


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
        "training_flops": member.training_flops,
        "trainings": {name: asdict(phase) for name, phase in member.phases.items()},
        "compute_ratio": member.compute_ratio,
        "memory_ratio": member.memory_ratio,
    }


_ROWS: dict[str, Cell] = {
    "layers × hidden size": lambda m: f"{m.config.num_hidden_layers} × {m.config.hidden_size}",
    "feed-forward": lambda m: f"{m.config.intermediate_size}",
    "heads / KV heads × size": lambda m: (
        f"{m.config.num_attention_heads} / {m.config.num_key_value_heads} × {m.config.head_dim}"
    ),
    "table width a layer": lambda m: f"{m.config.hidden_size_per_layer_input}",
    "parameters": lambda m: f"{m.config.parameters:,}",
    "  multiplied": lambda m: f"{m.config.multiplied:,}",
    "  looked up": lambda m: f"{m.config.looked_up:,}",
    "  scales of norms": lambda m: f"{m.config.norms:,}",
    "operations a token": lambda m: f"{m.config.flops_per_token():,}",
    "MB at 16 bits": lambda m: f"{m.config.bytes_at(16) / 1e6:,.2f}",
    "MB at 8 bits": lambda m: f"{m.config.bytes_at(8) / 1e6:,.2f}",
    "MB at 4 bits": lambda m: f"{m.config.bytes_at(4) / 1e6:,.2f}",
    "KV bytes a token": lambda m: f"{m.config.kv_bytes_per_token():,}",
    "compute of the first": lambda m: f"{m.compute_ratio:.1%}",
    "memory of the first": lambda m: f"{m.memory_ratio:.1%}",
    "training tokens": lambda m: f"{m.training_tokens:,}",
    "training operations": lambda m: f"{m.training_flops:.2e}",
}
