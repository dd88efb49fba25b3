"""Claim: rounding by what comes out of products loses less than rounding every weight by itself.

    python benchmarks/quantize.py FAMILY [MEMBER]

Of a built family's member (the first if none is named), every matrix is put on grids of 8 and of 4 bits in four ways,
with second moments of what goes into products on 64 training rows; told is the mean over matrices of the relative
squared error of their products on 32 other rows.
"""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from conditions import conditions
from rich.console import Console
from rich.table import Table
from torch import Tensor

from minikin.base.files import read_json
from minikin.base.log import Log
from minikin.family.fitting import mixture
from minikin.family.learning import Optimization
from minikin.family.plan import plan
from minikin.family.reading import checked
from minikin.family.site import Site
from minikin.family.store import Store
from minikin.model.checkpoint import load
from minikin.shrink.grid import BLOCK, Grid, compensated, nearest, searched
from minikin.shrink.moments import second_moments

_SEEN, _UNSEEN = 64, 32  # rows
_WAYS: dict[str, Callable[[Tensor, int, Tensor], Grid]] = {
    "nearest": lambda matrix, bits, _: nearest(matrix, bits),
    "scales by squared error": lambda matrix, bits, _: searched(matrix, bits),
    "scales by squared error, columns weighed": lambda matrix, bits, m: searched(matrix, bits, m.diagonal()),
    "later columns make up (what is built)": compensated,
}


@torch.no_grad()
def main() -> None:
    """Print the table."""
    root = Path(sys.argv[1])
    recipe = checked(read_json(root / "recipe.json"), str(root / "recipe.json"))
    name = sys.argv[2] if len(sys.argv) > 2 else recipe.first
    n, threads = f"{_SEEN} rows seen, {_UNSEEN} others for the errors", torch.get_num_threads()
    print(conditions(threads=threads, n=n, seed=f"{recipe.seed}, of the recipe"), flush=True)
    site = Site(recipe=recipe, planned=plan(recipe), store=Store(root), log=Log(Path("/dev/null"), Console(quiet=True)))
    decoder, rows = load(root / name).eval(), mixture(site, name, Optimization(tokens=1, batch_tokens=4096))
    first, last = (-(-count // rows.batch_rows) for count in (_SEEN, _SEEN + _UNSEEN))
    seen = second_moments(decoder, (rows.batch(step) for step in range(first)))
    unseen = second_moments(decoder, (rows.batch(step) for step in range(first, last)))
    weights = {key: decoder.state_dict()[f"{key}.weight"] for key in seen}
    fitting = {key: weight for key, weight in weights.items() if weight.shape[1] % BLOCK == 0}
    table = Table("rounding", title=f"{recipe.name} {name}: relative squared error of {len(fitting)} products")
    for bits in (8, 4):
        table.add_column(f"{bits} bits", justify="right")
    for way, put in _WAYS.items():
        found = (_mean(_errors(fitting, seen, unseen, bits, put)) for bits in (8, 4))
        table.add_row(way, *(f"{error:.2e}" for error in found))
    Console(width=100).print(table)


def _errors(
    weights: dict[str, Tensor],
    seen: dict[str, Tensor],
    unseen: dict[str, Tensor],
    bits: int,
    put: Callable[[Tensor, int, Tensor], Grid],
) -> Iterator[float]:
    for name, weight in weights.items():
        off, test = put(weight, bits, seen[name]).weights - weight, unseen[name]
        yield float(((off @ test) * off).sum() / ((weight @ test) * weight).sum())


def _mean(errors: Iterator[float]) -> float:
    found = list(errors)
    return sum(found) / len(found)


if __name__ == "__main__":
    main()
