"""What is kept of a built family for others to read: its report and its recipe, without the paths of this machine."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from minikin.base.errors import StorageError
from minikin.base.files import MANIFEST, whole_folder, write_json
from minikin.family.reading import checked
from minikin.family.recipe import Recipe
from minikin.measure.report import HTML, JSON, parsed, read_report, write_report

RECIPE = "recipe.json"
_SAVED = {JSON, HTML, RECIPE, MANIFEST}


def save_results(root: Path, fields: dict[str, Any], folder: Path) -> None:
    """Write report.json (the machine is in it), report.html and recipe.json into a folder, all of them or nothing.

    `fields` are the family's resolved recipe. Raises StorageError if the folder holds anything else, which would be
    lost.
    """
    if folder.exists() and (not folder.is_dir() or (others := sorted(_names(folder) - _SAVED))):
        found = f"holds {others[0]}" if folder.is_dir() else "is a file"
        raise StorageError(f"{folder}: {found}, which would be lost; name a new folder or one of saved results")
    shorter = _shorter(checked(fields, str(root / RECIPE)))
    report = _without(asdict(read_report(root)), shorter)
    with whole_folder(folder) as fresh:
        write_report(parsed(json.dumps(report), root / JSON), fresh)
        write_json(fresh / RECIPE, _without(fields, shorter))


def _names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def _shorter(recipe: Recipe) -> dict[str, str]:
    """The absolute paths that a recipe names, longest first, and what says the same without the machine."""
    root = recipe.data.folder
    tasks = recipe.data.tasks.values()
    named = [source.source for data in tasks for source in (*data.train, *data.test, *data.select)]
    found = {path: _inside(path, root) for path in map(Path, named) if path.is_absolute()}
    if recipe.origin and Path(recipe.origin).is_absolute():
        found[Path(recipe.origin)] = Path(recipe.origin).name
    if root.is_absolute():
        found[root] = "."
    return {str(path): found[path] for path in sorted(found, key=lambda path: -len(str(path)))}


def _inside(path: Path, root: Path) -> str:
    """A file as seen from the data's root, or by its folder and name if it lies elsewhere."""
    return str(path.relative_to(root) if path.is_relative_to(root) else Path(*path.parts[-2:]))


def _without(value: Any, shorter: dict[str, str]) -> Any:
    """A JSON value with every text shortened; a text that is longer than a path may hold it."""
    match value:
        case str():
            return _shortened(value, shorter)
        case dict():
            return {_shortened(str(key), shorter): _without(each, shorter) for key, each in value.items()}
        case list() | tuple():
            return [_without(each, shorter) for each in value]
        case _:
            return value


def _shortened(text: str, shorter: dict[str, str]) -> str:
    for path, short in shorter.items():
        text = short if text == path else text.replace(path, short) if len(path) > 1 else text
    return text
