"""The house: floors, rooms, sizes. A module imports from lower floors and from its own room."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "src" / "minikin"
FLOORS = {
    "__init__.py": 0,
    "base": 0,
    "text": 1,
    "model": 1,
    "train": 2,
    "shrink": 2,
    "measure": 2,
    "ship": 2,
    "family": 3,
    "engine": 3,
    "serve": 4,
    "app": 5,
    "__main__.py": 6,
}

FILES = sorted(PACKAGE.rglob("*.py"))


def imports(path: Path) -> list[str]:
    """All modules of ours that a file names, wherever the import stands."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import hides where it leads"
            found.append(node.module or "")
    return [name for name in found if name.startswith("minikin.")]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_down_or_stay_in_the_room(path):
    room = path.relative_to(PACKAGE).parts[0]
    for name in imports(path):
        other = name.split(".")[1]
        assert other == room or FLOORS[other] < FLOORS[room], f"{path} imports {name}, which is not below {room}"


def test_no_module_imports_itself_in_a_circle():
    graph = {".".join(("minikin", *path.relative_to(PACKAGE).with_suffix("").parts)): imports(path) for path in FILES}
    done: set[str] = set()

    def visit(name, above):
        assert name not in above, f"circle: {' → '.join((*above, name))}"
        if name not in done:
            for other in graph.get(name, []):
                visit(other, (*above, name))
            done.add(name)

    for name in graph:
        visit(name, ())


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_file_holds_one_idea(path):
    source = path.read_text(encoding="utf-8")
    assert len(source.splitlines()) <= 250
    assert not source or ast.get_docstring(ast.parse(source)), "a module opens with what it is about"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_nothing_runs_code_it_read(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            assert called not in ("eval", "exec", "torch.load", "pickle.load", "pickle.loads"), f"{path}: {called}"
