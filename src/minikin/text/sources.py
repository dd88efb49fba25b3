"""Files to records, read as a stream.

Nothing is dropped in silence: a bad record is a DataError that says file, line, what was found and what was expected.
"""

import difflib
import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from minikin.base.errors import DataError
from minikin.text.mapping import OURS, Naming, Task, renamed, shown
from minikin.text.records import Complexity, Dialogue, Record, Selection, Summarization, Text, Translation, Turn
from minikin.text.rows import rows

_LANGUAGES = ("source_lang", "target_lang")


def read(path: Path, task: Task, naming: Naming = OURS) -> Iterator[Record]:
    """Records of a file, one at a time, by its own names for their fields; raises DataError for the first unusable."""
    build = _BUILDERS[task]
    for where, fields in rows(path):
        yield build(_Fields(renamed(fields, naming, where), where))


class _Fields:
    """The fields of one record, taken out with complaints that say where."""

    def __init__(self, fields: Any, where: str) -> None:
        if not isinstance(fields, dict):
            raise DataError(f"{where}: found {shown(fields)}; expected a JSON object")
        self._fields: Mapping[str, Any] = fields
        self._where = where

    def text(self, name: str) -> str:
        """A text that is not blank."""
        value = self._value(name)
        if not isinstance(value, str) or not value.strip():
            raise self._wrong(name, value, "a text that is not empty")
        if not _is_unicode(value):
            raise self._wrong(name, value, "a text without half of a surrogate pair")
        return value

    def texts(self, name: str) -> tuple[str, ...]:
        """A list of texts; an absent one is empty."""
        value = self._fields.get(name) or []
        if not isinstance(value, list) or not all(isinstance(text, str) and _is_unicode(text) for text in value):
            raise self._wrong(name, value, "a list of texts")
        return tuple(value)

    def choices(self, name: str) -> tuple[str, ...]:
        """A list of at least two texts."""
        value = self._value(name)
        if not isinstance(value, list) or len(value) < 2:
            raise self._wrong(name, value, "a list of at least 2 texts")
        return self.texts(name)

    def turns(self, name: str, least: int) -> tuple[Turn, ...]:
        """A list of at least `least` turns."""
        value = self._value(name)
        if not isinstance(value, list) or len(value) < least:
            raise self._wrong(name, value, f"a list of at least {least} turn{'s'[: least > 1]}")
        parts = [_Fields(turn, f"{self._where}: {name}[{index}]") for index, turn in enumerate(value)]
        return tuple(Turn(role=part.text("role"), text=part.text("text")) for part in parts)

    def index(self, name: str, size: int) -> int:
        """A whole number from 0 to size − 1."""
        value = self._value(name)
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < size:
            raise self._wrong(name, value, f"a whole number from 0 to {size - 1}")
        return value

    def complexity(self) -> Complexity:
        """A finite number or a label, if the record has one."""
        value = self._fields.get("complexity")
        if isinstance(value, str):
            return self.text("complexity")
        if value is None or (isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)):
            return value
        raise self._wrong("complexity", value, "a number or a short label")

    def _value(self, name: str) -> Any:
        if name not in self._fields:
            raise DataError(f"{self._where}: lacks {name!r}; {self._hint(name)}")
        return self._fields[name]

    def _hint(self, name: str) -> str:
        found = f"found {', '.join(self._fields) or 'no field'}"
        if name in _LANGUAGES:
            return f'{found}; if it is the same in all records, say it once, in the source\'s table: {name} = "en"'
        near = difflib.get_close_matches(name, list(self._fields), 1)
        return f"is {near[0]!r} meant to be it?" if near else found

    def _wrong(self, name: str, value: Any, expected: str) -> DataError:
        return DataError(f"{self._where}: {name} is {shown(value)}; expected {expected}")


def _translation(fields: _Fields) -> Translation:
    return Translation(
        source=fields.text("source"),
        target=fields.text("target"),
        source_lang=fields.text("source_lang"),
        target_lang=fields.text("target_lang"),
        references=fields.texts("references"),
        complexity=fields.complexity(),
    )


def _summarization(fields: _Fields) -> Summarization:
    return Summarization(
        document=fields.text("document"),
        summary=fields.text("summary"),
        references=fields.texts("references"),
        complexity=fields.complexity(),
    )


def _selection(fields: _Fields) -> Selection:
    candidates = fields.choices("candidates")
    return Selection(
        context=fields.turns("context", 1),
        role=fields.text("role"),
        candidates=candidates,
        answer=fields.index("answer", len(candidates)),
        complexity=fields.complexity(),
    )


_BUILDERS: Mapping[Task, Callable[[_Fields], Record]] = {
    "translation": _translation,
    "summarization": _summarization,
    "dialogue": lambda fields: Dialogue(turns=fields.turns("turns", 2), complexity=fields.complexity()),
    "selection": _selection,
    "text": lambda fields: Text(text=fields.text("text")),
}


def _is_unicode(text: str) -> bool:
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
