"""Other people's names for the fields of our records: where in a row each field is found.

A place is a path of names: `translation.de` is the field "de" of the field "translation". Where a path comes upon a
list, it goes on in each entry, so `turns.utterance` is a list of texts whether the turns are objects or columns.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from minikin.base.errors import DataError

Task = Literal["translation", "summarization", "dialogue", "text", "selection"]
_TURNS = ("turns", "turns.role", "turns.text")
FIELDS: Mapping[Task, tuple[str, ...]] = {
    "translation": ("source", "target", "source_lang", "target_lang", "references"),
    "summarization": ("document", "summary", "references"),
    "dialogue": _TURNS,
    "selection": ("context", "context.role", "context.text", "role", "candidates", "answer"),
    "text": ("text",),
}
_SPEAKERS = ("speaker1", "speaker2")


@dataclass(frozen=True, kw_only=True)
class Naming:
    """Our fields → where a row has them, and fields that are the same for every row; what is not named is as ours."""

    places: Mapping[str, str] = field(default_factory=dict[str, str])
    same: Mapping[str, str] = field(default_factory=dict[str, str])


OURS = Naming()


def renamed(row: Any, naming: Naming, where: str) -> Any:
    """A row in our names; raises DataError, with `where`, if there is nothing at a place.

    Turns may be a list of texts, said in turn by two speakers, or be put together from `turns.text` and `turns.role`;
    where only the role has another name, their texts are as ours.
    """
    if not isinstance(row, dict) or not (naming.places or naming.same):
        return row
    found = {name: _at(row, place, name, where) for name, place in naming.places.items()}
    fields: dict[str, Any] = {**row, **{name: value for name, value in found.items() if "." not in name}}
    for name in ("turns", "context"):
        if f"{name}.role" in found and f"{name}.text" not in found:
            found[f"{name}.text"] = _at(row, f"{name}.text", f"{name}.text", where)
        if f"{name}.text" in found:
            fields[name] = _joined(found[f"{name}.text"], found.get(f"{name}.role"), f"{where}: {name}")
        elif name in found:
            fields[name] = _alternating(found[name])
    return {**fields, **naming.same}


def shown(value: Any) -> str:
    """A value as an error message shows it."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else text[:57] + "…"


def _at(value: Any, place: str, ours: str, where: str) -> Any:
    name, _, rest = place.partition(".")
    if isinstance(value, list):
        return [_at(entry, place, ours, where) for entry in value]
    if not isinstance(value, dict) or name not in value:
        there = f"found {', '.join(value) or 'no field'}" if isinstance(value, dict) else f"found {shown(value)}"
        raise DataError(f"{where}: has no {place!r}, where the recipe's fields say that {ours} is; {there}")
    return _at(value[name], rest, ours, where) if rest else value[name]


def _joined(texts: Any, roles: Any, where: str) -> Any:
    """Turns from two lists; without roles, two speakers take turns."""
    if roles is None:
        return _alternating(texts)
    if not isinstance(texts, list) or not isinstance(roles, list) or len(texts) != len(roles):
        raise DataError(f"{where}: texts are {shown(texts)}, roles {shown(roles)}; expected two lists of one length")
    return [{"role": _role(role), "text": _bare(text)} for role, text in zip(roles, texts, strict=True)]


def _alternating(texts: Any) -> Any:
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        return texts  # turns already, or nothing that can be: the reader says what is wrong
    return [{"role": _SPEAKERS[index % 2], "text": _bare(text)} for index, text in enumerate(texts)]


def _role(role: Any) -> Any:
    # tables keep speakers as numbers of classes
    return str(role) if isinstance(role, int) and not isinstance(role, bool) else role


def _bare(text: Any) -> Any:
    return text.strip() if isinstance(text, str) else text
