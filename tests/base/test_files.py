import errno
import json
import os
from pathlib import Path

import pytest
from rich.console import Console

from minikin.base.errors import CheckpointError, StorageError
from minikin.base.files import (
    digest,
    read_json,
    remove_strays,
    storage_errors,
    verify,
    verify_file,
    whole_folder,
    write_text,
)
from minikin.base.log import Log


def test_a_folder_is_whole(tmp_path):
    with whole_folder(tmp_path / "made") as folder:
        (folder / "a.txt").write_text("a")
    verify(tmp_path / "made")
    assert [path.name for path in tmp_path.iterdir()] == ["made"]


def test_a_failed_folder_leaves_the_earlier_one(tmp_path):
    final = tmp_path / "made"
    with whole_folder(final) as folder:
        (folder / "a.txt").write_text("first")
    with pytest.raises(FileNotFoundError), whole_folder(final) as folder:
        (folder / "none" / "a.txt").write_text("second")
    assert (final / "a.txt").read_text() == "first"
    assert [path.name for path in tmp_path.iterdir()] == ["made"]


def test_a_folder_moved_aside_by_a_killed_run_comes_back(tmp_path):
    with whole_folder(tmp_path / "made") as folder:
        (folder / "a.txt").write_text("first")
    (tmp_path / "made").rename(tmp_path / ".old-made")
    (tmp_path / ".tmp-made-999999999").mkdir()
    remove_strays(tmp_path / "made")
    assert [path.name for path in tmp_path.iterdir()] == ["made"]
    assert (tmp_path / "made" / "a.txt").read_text() == "first"


def test_a_folder_that_was_put_elsewhere_stays_there(tmp_path):
    (tmp_path / "large" / "made").mkdir(parents=True)
    (tmp_path / "made").symlink_to(tmp_path / "large" / "made")
    for text in ("first", "second", "third"):
        with whole_folder(tmp_path / "made") as folder:
            (folder / "a.txt").write_text(text)
        assert (tmp_path / "large" / "made" / "a.txt").read_text() == text
    assert (tmp_path / "made").is_symlink()
    assert [path.name for path in (tmp_path / "large").iterdir()] == ["made"]


def test_every_flipped_bit_is_found(tmp_path):
    final = tmp_path / "made"
    with whole_folder(final) as folder:
        (folder / "a.bin").write_bytes(bytes(range(40)))
    path = final / "a.bin"
    good = path.read_bytes()
    for bit in range(8 * len(good)):
        damaged = bytearray(good)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        with pytest.raises(CheckpointError, match=r"a\.bin: is damaged"):
            verify(final)


def test_a_missing_file_is_named(tmp_path):
    with whole_folder(tmp_path / "made") as folder:
        (folder / "a.txt").write_text("a")
    (tmp_path / "made" / "a.txt").unlink()
    with pytest.raises(CheckpointError, match=r"a\.txt: is missing"):
        verify(tmp_path / "made")


def test_a_file_that_the_manifest_does_not_know_is_told(tmp_path):
    with whole_folder(tmp_path / "made") as folder:
        (folder / "a.txt").write_text("a")
    verify_file(tmp_path / "made", "a.txt")
    with pytest.raises(CheckpointError, match=r"manifest\.json: does not list b\.txt"):
        verify_file(tmp_path / "made", "b.txt")


def test_a_log_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "families").write_text("a file")
    with pytest.raises(StorageError, match="a file is where a folder should be"):
        Log(tmp_path / "families" / "log.jsonl", Console()).event("stage begins")


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (errno.ENOSPC, "the disk is full"),
        (errno.EROFS, "the disk is read-only"),
        (errno.EACCES, "permission denied"),
        (errno.EFBIG, "the file grew beyond the allowed size"),
        (errno.EIO, "the disk reports a fault"),
    ],
)
def test_a_refusal_says_why_and_how_much_room_there_is(tmp_path, number, said):
    with pytest.raises(StorageError, match=f"{said}.*MB free"), storage_errors(tmp_path / "none" / "file"):
        raise OSError(number, os.strerror(number))


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")
def test_a_truly_full_device_is_told():
    with (
        pytest.raises(StorageError, match="the disk is full"),
        storage_errors(Path("/dev")),
        open("/dev/full", "w") as file,
    ):
        file.write("x" * 100_000)


def test_a_file_in_the_way_is_told(tmp_path):
    (tmp_path / "families").write_text("a file")
    with pytest.raises(StorageError, match="a file is where a folder should be"):
        write_text(tmp_path / "families" / "report.json", "{}")


def test_a_failed_file_leaves_the_earlier_one(tmp_path, monkeypatch):
    write_text(tmp_path / "a.json", "first")

    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match="the disk is full"):
        write_text(tmp_path / "a.json", "second")
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]
    assert (tmp_path / "a.json").read_text() == "first"


def test_files_are_synced_before_they_are_renamed(tmp_path, monkeypatch):
    order = []
    fsync, rename = os.fsync, type(tmp_path).rename
    monkeypatch.setattr(
        os, "fsync", lambda number: (order.append(os.readlink(f"/proc/self/fd/{number}")), fsync(number))
    )
    monkeypatch.setattr(type(tmp_path), "rename", lambda path, to: (order.append("rename"), rename(path, to))[1])
    with whole_folder(tmp_path / "made") as folder:
        (folder / "a.txt").write_text("a")
    at = order.index("rename")
    assert any(name.endswith("a.txt") for name in order[:at])
    assert order[at - 1].endswith(folder.name)
    assert order[-1] == str(tmp_path)


def test_broken_json_is_told(tmp_path):
    (tmp_path / "a.json").write_text('{"a": ')
    with pytest.raises(CheckpointError, match="is damaged"):
        read_json(tmp_path / "a.json")
    with pytest.raises(CheckpointError, match="is missing"):
        read_json(tmp_path / "b.json")


def test_digests_tell_where_parts_end():
    assert digest("ab", "c") != digest("a", "bc")
    assert digest("a") == digest(b"a")
    assert json.loads(json.dumps(digest("a"))) == digest("a")


def test_a_folder_leaves_alone_what_another_writes_beside_it(tmp_path):
    abandoned = tmp_path / ".tmp-mini-999999999"
    abandoned.mkdir()
    with whole_folder(tmp_path / "mini-x") as other:
        (other / "file").write_text("x")
        with whole_folder(tmp_path / "mini") as mine:
            (mine / "file").write_text("y")
        assert (other / "file").read_text() == "x"
    assert (tmp_path / "mini-x" / "file").read_text() == "x"
    assert not abandoned.exists()
