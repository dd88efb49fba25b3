"""The stage that holds what members are examined on against what they were trained on."""

from collections.abc import Iterator
from dataclasses import asdict

from minikin.base.files import read_json, write_json
from minikin.family.exams import examples_of
from minikin.family.recipe import Recipe
from minikin.family.site import Site, overlap_key
from minikin.family.supply import records_of
from minikin.text.overlap import Overlap, overlaps
from minikin.text.records import Record

OVERLAP = "overlap"
_FOUND = "overlap.json"


def compare(site: Site) -> None:
    """How much of every exam is in the training data of whatever task; of a pair asked both ways, one way is held."""
    with site.results.fresh(OVERLAP, overlap_key(site), {"stage": OVERLAP}) as folder:
        tests: dict[str, list[Record]] = {}
        for exam in site.exams:
            if exam.sources and exam.task != "text":
                tests.setdefault(exam.task, []).extend(records[0] for _, records in examples_of(site.recipe, exam))
        found = overlaps(tests, _training(site.recipe))
        write_json(folder / _FOUND, {task: asdict(overlap) for task, overlap in found.items()})


def read_overlap(site: Site) -> dict[str, Overlap]:
    """What `compare` found, a task."""
    shown = ("shown_exact", "shown_near")
    return {
        task: Overlap(**fields | {name: tuple(fields[name]) for name in shown})
        for task, fields in read_json(site.results.folder(OVERLAP) / _FOUND).items()
    }


def warnings(found: dict[str, Overlap]) -> Iterator[str]:
    """A line for each task of which the training data has something."""
    for task, overlap in found.items():
        if overlap.exact or overlap.near:
            yield (
                f"warning: of {overlap.examples:,} {task} tests, {overlap.exact:,} are in the training data word for "
                f"word and {overlap.near:,} nearly; the report shows some"
            )


def _training(recipe: Recipe) -> Iterator[Record]:
    for task, data in recipe.data.tasks.items():
        for source in data.train:
            yield from records_of(recipe, source, task, "train")
