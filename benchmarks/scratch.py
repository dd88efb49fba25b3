"""Claim: distilled members beat the same shapes trained from scratch with the same tokens.

    python benchmarks/scratch.py FAMILY

FAMILY is a built family. Beside it, in FAMILY-scratch, the same recipe is built with every distilled member
trained on the data alone: same shape, same rows in the same order, same steps and schedule, nothing inherited.
"""

import sys
from collections.abc import Mapping
from pathlib import Path

from conditions import conditions
from rich.console import Console
from rich.table import Table

from minikin.base.files import read_json
from minikin.base.log import Log
from minikin.family.build import build
from minikin.family.plan import plan
from minikin.family.reading import checked
from minikin.family.recipe import Recipe
from minikin.measure.records import FamilyReport, Interval
from minikin.measure.report import read_report


def from_scratch(recipe: Recipe) -> Recipe:
    """The same family with every distilled member's shape given and nothing inherited."""
    fields = recipe.model_dump(exclude_none=True)
    for name, member in recipe.member.items():
        if member.distill is None:
            continue
        if member.distill.shares:
            raise SystemExit(f"member.{name}.distill.shares: from scratch, rows are by the data's shares; leave it out")
        config = plan(recipe)[name].config
        given = dict(recipe.member[recipe.first].shape or {})
        training = {field: fields["member"][name]["distill"][field] for field in type(_training(recipe)).model_fields}
        fields["member"][name] = {
            "shape": {field: getattr(config, field, value) for field, value in given.items()},
            "train": training,
            "promise": fields["member"][name]["promise"],
        }
    return checked(fields, "from scratch")


def _training(recipe: Recipe) -> object:
    return recipe.member[recipe.first].train


def main() -> None:
    """Build the scratch family if it is not there, and print both side by side."""
    folder = Path(sys.argv[1])
    recipe = checked(read_json(folder / "recipe.json"), str(folder / "recipe.json"))
    beside = folder.with_name(f"{folder.name}-scratch")
    report = build(from_scratch(recipe), beside, Log(beside / "log.jsonl", Console(stderr=True)))
    n = ", ".join(f"{task} {next(iter(scores.values())).n:,}" for task, scores in _scores(report, recipe).items())
    print(conditions(threads=recipe.threads, n=n, seed=f"{recipe.seed}, of the recipe"))
    Console(width=130).print(_table(read_report(folder), report, recipe))


def _table(distilled: FamilyReport, scratch: FamilyReport, recipe: Recipe) -> Table:
    table = Table("task", "metric", title=f"{recipe.name}: distilled | from scratch, same shape and tokens")
    names = [name for name, member in recipe.member.items() if member.distill is not None]
    for name in names:
        table.add_column(name, justify="right")
    for task, metrics in _scores(distilled, recipe).items():
        for metric in metrics:
            cells = [(family.members[name].scores[task][metric]) for name in names for family in (distilled, scratch)]
            pairs = zip(cells[::2], cells[1::2], strict=True)
            table.add_row(task, metric, *(f"{_shown(one)} | {_shown(other)}" for one, other in pairs))
    return table


def _scores(report: FamilyReport, recipe: Recipe) -> Mapping[str, Mapping[str, Interval]]:
    return report.members[recipe.first].scores


def _shown(score: Interval) -> str:
    return f"{score.value:.1f} [{score.low:.1f}, {score.high:.1f}]"


if __name__ == "__main__":
    main()
