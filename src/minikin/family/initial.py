"""Members with random weights, straight to disk: the shapes of a recipe made real before anything is trained."""

from collections.abc import Sequence
from pathlib import Path

import torch

from minikin import __version__
from minikin.base.errors import CheckpointError, PlanError, StorageError
from minikin.base.files import read_json, verify, whole_folder, write_json
from minikin.base.log import Log
from minikin.family.card import CARD
from minikin.family.origin import origin_folder
from minikin.family.plan import PlannedMember, plan
from minikin.family.recipe import Recipe
from minikin.family.results import RECIPE
from minikin.family.store import PROVENANCE
from minikin.model.checkpoint import save_initial
from minikin.model.config import Config
from minikin.text.chat import chat_template
from minikin.text.tokenizer import Tokenizer

_MILLION = 10**6
_STAGE = "initial"


def write_initial(recipe: Recipe, names: Sequence[str], out: Path, dtype: torch.dtype, log: Log) -> list[Path]:
    """Write members of a recipe, all if none is named, each in a folder of `out`.

    Raises PlanError at an unknown name, StorageError where anything would be replaced that was not written here.
    """
    planned = plan(recipe)
    if (out / RECIPE).is_file():
        raise StorageError(f"{out}: is a family that was built; choose another folder with --out")
    if unknown := [name for name in names if name not in planned]:
        raise PlanError(f"{recipe.name}: has no member {unknown[0]!r}; it has {', '.join(planned)}")
    size = planned[recipe.first].config.vocab_size
    tokenizer = Tokenizer.load(origin_folder(recipe.origin)) if recipe.origin else Tokenizer.of_bytes(size)
    written = []
    for name in names or planned:
        _refuse_others(out / name)
    for name in names or planned:
        with whole_folder(out / name) as folder:
            _draw(planned[name].config, folder, dtype, recipe.seed, name, log)
            tokenizer.save(folder, planned[name].config.max_position_embeddings, chat_template())
            (folder / CARD).write_text(_card(recipe, planned[name]), encoding="utf-8")
            facts = {"stage": _STAGE, "minikin": __version__, "recipe": recipe.name, "seed": recipe.seed}
            write_json(folder / PROVENANCE, facts)
        written.append(out / name)
    return written


def _refuse_others(folder: Path) -> None:
    """Raise StorageError if a folder holds anything but a member as it was written here."""
    facts = folder / PROVENANCE
    if not folder.exists() or (facts.is_file() and read_json(facts).get("stage") == _STAGE and _is_whole(folder)):
        return
    raise StorageError(
        f"{folder}: is there already, and is no member as minikin init wrote it; delete it or choose another folder "
        "with --out"
    )


def _is_whole(folder: Path) -> bool:
    """Whether nothing was changed since it was written, such as by a training elsewhere."""
    try:
        verify(folder)
    except CheckpointError:
        return False
    return True


def _draw(config: Config, folder: Path, dtype: torch.dtype, seed: int, name: str, log: Log) -> None:
    done = 0
    with log.bar(f"{name}: drawing and writing million weights", config.parameters // _MILLION) as bar:

        def watch(weights: int) -> None:
            nonlocal done
            done += weights
            bar.at(done // _MILLION)

        save_initial(config, folder, dtype, seed, watch)


def _card(recipe: Recipe, member: PlannedMember) -> str:
    return (
        "---\nlibrary_name: transformers\npipeline_tag: text-generation\ntags:\n- minikin\n- gemma4\n---\n\n"
        f"# {recipe.name} {member.name}, untrained\n\n"
        f"Random weights, seed {recipe.seed}, in the shape of this member: {member.config.parameters:,} parameters. "
        "Its tokenizer has one token a byte. For measuring speed and memory; it knows nothing.\n"
    )
