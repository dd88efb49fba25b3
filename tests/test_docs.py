"""What the documents say is what the code does."""

import json
import re
import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner

from minikin.app.cli import app
from minikin.family.reference import reference
from minikin.measure.report import schema

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_recipe_reference_is_generated():
    assert (ROOT / "docs" / "recipe.md").read_text(encoding="utf-8") == reference(), "run make docs"


def test_the_report_schema_is_generated():
    assert json.loads((ROOT / "docs" / "report.schema.json").read_text()) == schema(), "run make docs"


@pytest.mark.parametrize("command", sorted(set(re.findall(r"(?:`|bin/)minikin ([a-z]+) ", README))))
def test_commands_of_the_readme_exist(command):
    assert CliRunner().invoke(app, [command, "--help"]).exit_code == 0


def test_paths_of_the_readme_exist():
    named = set(re.findall(r"\b((?:recipes|docs|benchmarks|results|src|tests)/[\w./-]+\w)", README))
    assert len(named) > 5
    for path in named:
        assert (ROOT / path).exists(), path


def test_every_room_and_module_is_told():
    told = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    modules = told[told.index("## All modules") :]
    for room in (path for path in (ROOT / "src" / "minikin").iterdir() if path.is_dir() and path.name[0] != "_"):
        assert f"{room.name}/" in README
        assert f"  {room.name}/" in modules
        for module in room.glob("[a-z]*.py"):
            assert re.search(rf"\b{module.stem}\b", modules), module


def test_documents_have_no_holes():
    for path in (*(ROOT / "docs").glob("*.md"), ROOT / "README.md", ROOT / "CHANGELOG.md"):
        text = path.read_text(encoding="utf-8")
        assert "@@" not in text, path
        assert len(text.splitlines()) > 10, path


def test_the_version_is_said_once():
    assert tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dynamic"] == ["version"]
    assert f"## {__import__('minikin').__version__}" in (ROOT / "CHANGELOG.md").read_text()
