"""Files to records: jsonl, jsonl.gz, parquet and csv, read as a stream.

Nothing is dropped in silence: a bad record is a DataError that says file, line, what was found and what was expected.
"""

import csv
import difflib
import gzip
import json
import math
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet
from pyarrow import ArrowInvalid

from minikin.base.errors import DataError
from minikin.text.mapping import OURS, Naming, Task, renamed, shown
from minikin.text.records import Complexity, Dialogue, Record, Selection, Summarization, Text, Translation, Turn

_LONGEST_CELL = 1 << 24  # characters; Python's own limit is shorter than some documents
_LANGUAGES = ("source_lang", "target_lang")
SUFFIXES = (".jsonl", ".jsonl.gz", ".parquet", ".csv")


def read(path: Path, task: Task, naming: Naming = OURS) -> Iterator[Record]:
    """Records of a file, one at a time, by its own names for their fields; raises DataError for the first unusable."""
    build = _BUILDERS[task]
    for where, fields in rows(path):
        yield build(_Fields(renamed(fields, naming, where), where))


def rows(path: Path) -> Iterator[tuple[str, Any]]:
    """What a file holds, each with where it stands; raises DataError if the file cannot be read or holds nothing."""
    empty = True
    for row in _reader(present(path))(path):
        empty = False
        yield row
    if empty:
        raise DataError(f"{path}: holds no record; expected one a line")


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
    candidates = fields.texts("candidates")
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


def present(path: Path, advice: str = "") -> Path:
    """The path, if a file is there that can be read; else DataError with the nearest name and advice."""
    if not path.is_file():
        raise DataError(f"{path}: no such file{_nearest(path)}{advice}")
    try:
        path.open("rb").close()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    return path


def _reader(path: Path) -> Callable[[Path], Iterator[tuple[str, Any]]]:
    if path.name.endswith(".parquet"):
        return _parquet_rows
    if path.name.endswith(".csv"):
        return _csv_rows
    if path.name.endswith((".jsonl", ".jsonl.gz")):
        return _json_rows
    raise DataError(f"{path}: cannot tell what kind of file this is; its name must end with {', '.join(SUFFIXES)}")


def _json_rows(path: Path) -> Iterator[tuple[str, Any]]:
    opened = gzip.open if path.name.endswith(".gz") else open
    number = 0
    try:
        with opened(path, "rb") as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    # a byte order mark, which some editors write, is no part of the first record
                    yield f"{path}:{number}", json.loads(line.decode("utf-8-sig" if number == 1 else "utf-8").strip())
    except UnicodeDecodeError as error:
        raise DataError(f"{path}:{number}: is not valid UTF-8 at byte {error.start}; save the file as UTF-8") from error
    except json.JSONDecodeError as error:
        raise DataError(
            f"{path}:{number}: is not valid JSON ({error.msg} at column {error.colno}); expected one object a line"
        ) from error
    except RecursionError as error:
        raise DataError(f"{path}:{number}: is nested too deeply") from error
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"{path}: is not a whole gzip file ({error})") from error


def _parquet_rows(path: Path) -> Iterator[tuple[str, Any]]:
    try:
        number = 0
        for batch in pyarrow.parquet.ParquetFile(path).iter_batches(1024):
            for row in batch.to_pylist():
                number += 1
                yield f"{path}:{number}", row
    except (ArrowInvalid, OSError) as error:
        raise DataError(f"{path}: is not a readable parquet file ({str(error).splitlines()[0]})") from error


def _csv_rows(path: Path) -> Iterator[tuple[str, Any]]:
    csv.field_size_limit(_LONGEST_CELL)
    try:
        # a byte order mark, which spreadsheets write, is no part of the first name
        with path.open(encoding="utf-8-sig", newline="") as lines:
            table = csv.DictReader(lines, strict=True)
            for row in table:
                if None in row or None in row.values():
                    named = f"expected {len(table.fieldnames or ())}, as its first line names"
                    raise DataError(f"{path}:{table.line_num}: has another number of cells; {named}")
                yield f"{path}:{table.line_num}", row
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: is not valid UTF-8 ({error.reason}); save the file as UTF-8") from error
    except csv.Error as error:
        raise DataError(f"{path}: is not a readable csv file ({error})") from error


def _is_unicode(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text)


def _nearest(path: Path) -> str:
    beside = [file.name for file in path.parent.iterdir()] if path.parent.is_dir() else []
    near = difflib.get_close_matches(path.name, beside, 1)
    return f"; did you mean {path.parent / near[0]}?" if near else f"; is {path.parent} the right folder?"
