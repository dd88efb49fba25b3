"""A family's folder: what died builds left half-written goes, and nothing else does."""

import subprocess
import sys

import pytest

from minikin.base.files import whole_folder
from minikin.family.store import Store

DEAD = 999999999  # no process has this number


@pytest.fixture
def living():
    """The number of a process that is at work."""
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    yield process.pid
    process.communicate()


def left(folder, name):
    """A folder with something in it."""
    (folder / name).mkdir(parents=True)
    (folder / name / "file").write_text(name)
    return folder / name


@pytest.mark.parametrize("place", ["", "answers", "quantized/mini", "distilled", "written", ".work/mini/0123"])
def test_what_a_killed_build_was_writing_goes(tmp_path, place):
    stray = left(tmp_path / place, f".tmp-mini-{DEAD}")
    file = tmp_path / place / f".tmp-report.json-{DEAD}"
    file.write_text("{")
    replaced, new = left(tmp_path / place, ".old-full"), left(tmp_path / place, "full")
    Store(tmp_path).tidy()
    assert not any(path.exists() for path in (stray, file, replaced))
    assert (new / "file").read_text() == "full"


def test_what_was_just_moved_aside_comes_back(tmp_path):
    left(tmp_path, ".old-mini")
    left(tmp_path, f".tmp-mini-{DEAD}")
    Store(tmp_path).tidy()
    assert [path.name for path in tmp_path.iterdir()] == ["mini"]


def test_what_is_whole_or_being_written_stays(tmp_path, living):
    with whole_folder(tmp_path / "mini") as folder:
        (folder / "a").write_text("a")
    kept = [
        left(tmp_path, f".tmp-nano-{living}"),  # a living process writes it
        left(tmp_path, ".old-nano"),  # and has just moved this aside
        left(tmp_path / "mini", f".tmp-file-{DEAD}"),  # in a member anybody may write
        left(tmp_path / "evaluations" / "test", f".tmp-answers-{DEAD}"),  # has a lock of its own
        left(tmp_path, f"tmp-mini-{DEAD}"),  # of another name
        left(tmp_path, ".tmp-mini-last"),
        left(tmp_path / ".work" / "mini" / "0123", "step-00000004"),
    ]
    Store(tmp_path).tidy()
    assert [path for path in kept if not (path / "file").is_file()] == []
    assert (tmp_path / "mini" / "a").is_file()
