"""What a file holds, row by row, as a stream: jsonl, jsonl.gz, parquet and csv.

Every row comes with where it stands: file and line, or file and number.
"""

import csv
import difflib
import gzip
import json
import math
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pyarrow.parquet
from pyarrow import ArrowException

from minikin.base.errors import DataError

SUFFIXES = (".jsonl", ".jsonl.gz", ".parquet", ".csv")
_LONGEST_CELL = 1 << 24  # characters; Python's own limit is shorter than some documents


def rows(path: Path) -> Iterator[tuple[str, Any]]:
    """What a file holds, each with where it stands; raises DataError if the file cannot be read or holds nothing."""
    empty = True
    for row in _reader(present(path))(path):
        empty = False
        yield row
    if empty:
        raise DataError(f"{path}: holds no record; expected one a line")


def present(path: Path, advice: str = "") -> Path:
    """The path, if a file is there that can be read; else DataError with the nearest name and advice."""
    with _read_errors(path):
        if not path.is_file():
            raise DataError(f"{path}: no such file{_nearest(path)}{advice}")
        path.open("rb").close()
    return path


@contextmanager
def _read_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error


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
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error


def _parquet_rows(path: Path) -> Iterator[tuple[str, Any]]:
    try:
        number = 0
        for batch in pyarrow.parquet.ParquetFile(path).iter_batches(1024):
            for row in batch.to_pylist():
                number += 1
                yield f"{path}:{number}", row
    except (ArrowException, OSError) as error:
        raise DataError(f"{path}: is not a readable parquet file ({str(error).splitlines()[0]})") from error


def _csv_rows(path: Path) -> Iterator[tuple[str, Any]]:
    csv.field_size_limit(_LONGEST_CELL)
    # a byte order mark, which spreadsheets write, is no part of the first name
    with _read_errors(path), path.open(encoding="utf-8-sig", newline="") as lines:
        table = csv.reader(lines, strict=True)
        try:
            names = next(table, [])
            if twice := [name for name, count in Counter(names).items() if count > 1]:
                raise DataError(f"{path}:1: has two columns named {twice[0]!r}; give each a name of its own")
            for number, cells in _numbered(table):
                if len(cells) != len(names):
                    told = f"has {len(cells)} cells; expected {len(names)}, as its first line names"
                    raise DataError(f"{path}:{number}: {told}")
                yield f"{path}:{number}", _told(dict(zip(names, cells, strict=True)))
        except UnicodeDecodeError as error:
            raise DataError(f"{path}: is not valid UTF-8 ({error.reason}); save the file as UTF-8") from error
        except csv.Error as error:
            raise DataError(f"{path}:{table.line_num}: is not a readable csv file ({error})") from error


def _numbered(table: Any) -> Iterator[tuple[int, list[str]]]:
    """Rows that have cells, each with the number of its first line."""
    number = table.line_num + 1
    for cells in table:
        if cells:
            yield number, cells
        number = table.line_num + 1


def _told(row: dict[str, Any]) -> dict[str, Any]:
    """A row of a table, whose cells are all texts: no complexity is told by an empty cell, a number is meant as one."""
    told = row.pop("complexity", "").strip()
    if told:
        row["complexity"] = told
        with suppress(ValueError):
            row["complexity"] = float(told) if math.isfinite(float(told)) else told
    return row


def _nearest(path: Path) -> str:
    beside = [file.name for file in path.parent.iterdir()] if path.parent.is_dir() else []
    near = difflib.get_close_matches(path.name, beside, 1)
    return f"; did you mean {path.parent / near[0]}?" if near else f"; is {path.parent} the right folder?"
