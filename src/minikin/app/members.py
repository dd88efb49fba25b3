"""Which members a folder means: a family's, or one and those it was built with."""

from pathlib import Path

from minikin.base.errors import CheckpointError
from minikin.base.files import read_json
from minikin.family.results import RECIPE
from minikin.model.checkpoint import CONFIG


def members_of(folder: Path) -> list[Path]:
    """A family's members in the recipe's order, or all in a folder; or the one member that a folder is."""
    if (folder / CONFIG).is_file():
        return [folder]
    if not folder.is_dir():
        raise CheckpointError(
            f"{folder}: no such folder; name a built family or a member, such as families/village/nano"
        )
    if (folder / RECIPE).is_file():
        return [folder / name for name in read_json(folder / RECIPE)["member"]]
    if found := sorted(path.parent for path in folder.glob(f"*/{CONFIG}")):
        return found
    raise CheckpointError(f"{folder}: holds no member; name a built family such as families/village")


def with_siblings(folder: Path) -> tuple[list[Path], str]:
    """All that can be talked to, and who is meant: a family's first, or the member that a folder is."""
    members = members_of(folder)
    if len(members) == 1 and (folder.resolve().parent / RECIPE).is_file():
        siblings = members_of(folder.resolve().parent)
        if folder.resolve() in siblings:
            return siblings, folder.resolve().name
    return members, members[0].resolve().name
