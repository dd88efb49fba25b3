"""The report on disk: `report.json` for programs, `report.html` for people."""

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from minikin.base.errors import DataError
from minikin.base.files import write_text
from minikin.measure.page import page
from minikin.measure.records import FamilyReport

JSON, HTML = "report.json", "report.html"
_ADAPTER = TypeAdapter(FamilyReport)


def write_report(report: FamilyReport, folder: Path) -> None:
    """Write both files, each whole or not at all."""
    write_text(folder / JSON, json.dumps(asdict(report), indent=1, ensure_ascii=False) + "\n")
    write_text(folder / HTML, page(report))


def read_report(folder: Path) -> FamilyReport:
    """The report of a built family; raises DataError if it is missing or damaged."""
    path = folder / JSON
    try:
        return parsed(path.read_bytes(), path)
    except FileNotFoundError as error:
        if not folder.is_dir():
            raise DataError(f"{folder}: no such folder; name the folder of a family") from error
        raise DataError(f"{folder}: has no {JSON}; name the folder of a family that was built to its end") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); name a family's folder") from error


def parsed(text: str | bytes, path: Path) -> FamilyReport:
    """A report from its JSON; raises DataError, which names the path, if it is none."""
    try:
        return _ADAPTER.validate_json(text)
    except ValidationError as error:
        mistake = error.errors()[0]
        where = ".".join(str(part) for part in mistake["loc"])
        raise DataError(
            f"{path}: is damaged at {where or 'its beginning'} ({mistake['msg']}); build it again"
        ) from error


def schema() -> dict[str, Any]:
    """The JSON schema of `report.json`."""
    return _ADAPTER.json_schema()


if __name__ == "__main__":
    sys.stdout.write(json.dumps(schema(), indent=1) + "\n")
