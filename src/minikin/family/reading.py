"""Reads a recipe strictly: every mistake is named with its dotted path, what was found and the nearest right name."""

import difflib
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from minikin.base.errors import RecipeError
from minikin.family.recipe import Recipe

_SPELLED = {"name": "small letters, digits, - and _"}  # else it is a dataset's name that is spelled otherwise


def read_recipe(path: Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe and apply `path.to.field=value` overrides; raises RecipeError naming every mistake."""
    try:
        fields = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise RecipeError(f"{path}: no such file; see the folder recipes/ for examples") from error
    except (IsADirectoryError, PermissionError) as error:
        raise RecipeError(f"{path}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise RecipeError(f"{path}: is not valid UTF-8 at byte {error.start}") from error
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"{path}: is not valid TOML: {error}") from error
    return checked(overridden(fields, overrides), " ".join((str(path), *(f"--set {each}" for each in overrides))))


def overridden(fields: Mapping[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """Plain values with `path.to.field=value` overrides applied; values are TOML, or else text."""
    changed = deepcopy(dict(fields))
    for override in overrides:
        _override(changed, override)
    return changed


def checked(fields: Mapping[str, Any], where: str) -> Recipe:
    """A recipe from plain values."""
    try:
        return Recipe.model_validate(fields)
    except ValidationError as error:
        raise RecipeError("; ".join(f"{where}: {text}" for text in _mistakes(error))) from error


def _override(fields: dict[str, Any], override: str) -> None:
    path, equals, text = override.partition("=")
    if not equals or not all(path.split(".")):
        raise RecipeError(f"--set {override}: expected path.to.field=value, such as seed=2")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text
    *parents, last = path.split(".")
    _known_member(fields, parents, override)
    if parents[:1] == ["quantize"]:  # a change of one kind leaves the others that there are by themselves
        fields.setdefault("quantize", {kind: {} for kind in Recipe.model_fields["quantize"].default})
    for name in parents:
        fields = fields.setdefault(name, {})
        if not isinstance(fields, dict):
            raise RecipeError(f"--set {override}: {name} is a value, not a table")
    fields[last] = value


def _known_member(fields: Mapping[str, Any], parents: Sequence[str], override: str) -> None:
    """A member that is misspelt would be another one, of which nothing is known but this."""
    members = fields.get("member", {})
    if parents[:1] == ["member"] and len(parents) > 1 and isinstance(members, dict) and parents[1] not in members:
        near = difflib.get_close_matches(parents[1], members, 1)
        hint = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(members) or 'none'}"
        raise RecipeError(f"--set {override}: the recipe has no member {parents[1]!r}; {hint}")


def _mistakes(error: ValidationError) -> Iterator[str]:
    for mistake in error.errors():
        path = ".".join(str(part) for part in mistake["loc"] if part != "[key]")
        prefix = f"{path}: " if path else ""
        if mistake["type"] == "extra_forbidden":
            near = difflib.get_close_matches(str(mistake["loc"][-1]), _names_at(mistake["loc"][:-1]), 1)
            yield f"{prefix}unknown field" + (f"; did you mean {near[0]!r}?" if near else "")
        elif mistake["type"] == "missing":
            yield f"{prefix}is missing"
        elif mistake["type"] == "value_error":
            yield f"{prefix}{mistake.get('ctx', {}).get('error')}"
        elif mistake["type"] == "string_pattern_mismatch":
            yield f"{prefix}found {mistake['input']!r}; expected {_SPELLED.get(path, 'OWNER/NAME')}"
        else:
            yield f"{prefix}found {mistake['input']!r}; {mistake['msg'].lower()}"


def _names_at(location: tuple[int | str, ...]) -> list[str]:
    """Names of the fields that exist at a place of the recipe."""
    model: Any = Recipe
    for part in location:
        if part in model.model_fields:
            kinds = _kinds_in(model.model_fields[part].annotation)
            model = next((kind for kind in kinds if issubclass(kind, BaseModel)), model)
    return [field.alias or name for name, field in model.model_fields.items()]


def _kinds_in(annotation: Any) -> Iterator[type]:
    """The types that an annotation is made of: of lists and alternatives, what they hold."""
    if isinstance(annotation, type):
        yield annotation
    for part in get_args(annotation):
        yield from _kinds_in(part)
