"""Folders and files that are whole or not there: written beside, synced, renamed.

A reader never meets a half-written artifact, whatever moment the writer was killed at.
"""

import contextlib
import errno
import glob
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
from safetensors import SafetensorError

from minikin.base.errors import CheckpointError, StorageError

MANIFEST = "manifest.json"
_EDITABLE = ("README.md",)
_REFUSALS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EROFS: "the disk is read-only",
    errno.EACCES: "permission denied",
    errno.EPERM: "permission denied",
    errno.EFBIG: "the file grew beyond the allowed size",
    errno.EIO: "the disk reports a fault",
    errno.ENOTDIR: "a file is where a folder should be",
    errno.EEXIST: "a file is where a folder should be",
}


def digest(*parts: str | bytes) -> str:
    """SHA-256 over the parts and their lengths, in hexadecimal."""
    total = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        total.update(len(data).to_bytes(8, "big") + data)
    return total.hexdigest()


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turn a refusal of the disk into a StorageError that names `path` and the room left.

    Libraries wrap the system's error in their own, so its text is looked at as well.
    """
    try:
        yield
    except (OSError, RuntimeError, SafetensorError) as error:
        reason = _refusal(error)
        if reason is None:
            raise
        free = shutil.disk_usage(_existing_parent(path)).free
        raise StorageError(
            f"{path}: cannot be written, {reason} ({free / 1e6:,.1f} MB free); "
            "mend that or choose another folder and run the same command again"
        ) from error


@contextlib.contextmanager
def whole_folder(final: Path) -> Iterator[Path]:
    """A folder to fill that takes the place of `final` when the block ends well.

    If the block fails, what it wrote is deleted and an earlier `final` stays as it was.
    """
    final = final.resolve() if final.is_symlink() else final  # on whatever disk it was put
    with storage_errors(final):
        make_folder(final.parent)
        remove_strays(final)
        fresh = final.parent / f".tmp-{final.name}-{os.getpid()}"
        fresh.mkdir()
        try:
            yield fresh
            write_manifest(fresh)
            _sync_tree(fresh)
            _swap(fresh, final)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)


def make_folder(folder: Path) -> None:
    """Make a folder and those above it, where they are not there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileNotFoundError as error:  # as in /proc, where nothing can be made
        raise StorageError(f"{folder}: cannot be made; choose another folder") from error


def remove_strays(final: Path) -> None:
    """Delete what killed runs left beside `final`, and put back what one of them had just moved aside."""
    aside = final.parent / f".old-{final.name}"
    if aside.exists() and not final.exists():
        aside.rename(final)
    shutil.rmtree(aside, ignore_errors=True)
    _remove_abandoned(final)


@contextlib.contextmanager
def whole_file(final: Path) -> Iterator[Path]:
    """A path to write that takes the place of `final` when the block ends well.

    If the block fails, what it wrote is deleted and an earlier `final` stays as it was.
    """
    with storage_errors(final):
        make_folder(final.parent)
        _remove_abandoned(final)
        fresh = final.with_name(f".tmp-{final.name}-{os.getpid()}")
        try:
            yield fresh
            _sync(fresh)
            fresh.replace(final)
        finally:
            fresh.unlink(missing_ok=True)
        _sync(final.parent)


def interrupted(folder: Path) -> set[Path]:
    """What killed runs left half-written in a folder, as it was to be called: each wants `remove_strays`.

    What another living process writes there is not among it.
    """
    written = (stray.name.removeprefix(".tmp-").rpartition("-") for stray in folder.glob(".tmp-*-*"))
    replaced = (folder / stray.name.removeprefix(".old-") for stray in folder.glob(".old-*"))
    return {folder / name for name, _, writer in written if _is_gone(writer)} | set(filter(Path.exists, replaced))


def _remove_abandoned(final: Path) -> None:
    """Delete what killed runs began in place of `final`; what another living process writes is left to it."""
    for stray in final.parent.glob(f".tmp-{glob.escape(final.name)}-*"):
        if _is_gone(stray.name.removeprefix(f".tmp-{final.name}-")):
            shutil.rmtree(stray, ignore_errors=True) if stray.is_dir() else stray.unlink(missing_ok=True)


def _is_gone(writer: str) -> bool:
    """Whether a process, by its number, writes no more: this one has not begun to."""
    return writer.isdigit() and (int(writer) == os.getpid() or not psutil.pid_exists(int(writer)))


def write_text(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    with whole_file(path) as fresh:
        fresh.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file whole or not at all."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def read_json(path: Path) -> Any:
    """The value in a JSON file; raises CheckpointError if the file is missing or damaged."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise CheckpointError(f"{path}: is missing; build it again") from error
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{path}: is damaged ({error}); delete it and build again") from error


def write_manifest(folder: Path) -> None:
    """Note size and digest of every file of a folder in its manifest.json, but of the texts that people may edit."""
    entries = {
        str(path.relative_to(folder)): {"bytes": path.stat().st_size, "sha256": file_digest(path)}
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in (MANIFEST, *_EDITABLE)
    }
    (folder / MANIFEST).write_text(json.dumps(entries, indent=1) + "\n", encoding="utf-8")


def verify(folder: Path) -> None:
    """Raise CheckpointError naming the first file that is not as the manifest says."""
    for name, entry in read_json(folder / MANIFEST).items():
        _verify(folder, name, entry)


def verify_file(folder: Path, name: str) -> None:
    """Raise CheckpointError if a file is missing or not as the manifest says."""
    entries = read_json(folder / MANIFEST)
    if name not in entries:
        raise CheckpointError(f"{folder / MANIFEST}: does not list {name}; delete {folder} and build again")
    _verify(folder, name, entries[name])


def _verify(folder: Path, name: str, entry: dict[str, Any]) -> None:
    path = folder / name
    if not path.is_file():
        raise CheckpointError(f"{path}: is missing; delete {folder} and build again")
    if path.stat().st_size != entry["bytes"] or file_digest(path) != entry["sha256"]:
        raise CheckpointError(f"{path}: is damaged (not what {MANIFEST} says); delete {folder} and build again")


def _refusal(error: BaseException) -> str | None:
    if isinstance(error, OSError):
        return _REFUSALS.get(error.errno or 0)
    texts = {os.strerror(number): reason for number, reason in _REFUSALS.items()}
    return next((reason for text, reason in texts.items() if text in str(error)), None)


def _existing_parent(path: Path) -> Path:
    return next(folder for folder in (path, *path.absolute().parents) if folder.exists())


def _swap(fresh: Path, final: Path) -> None:
    aside = final.parent / f".old-{final.name}"
    if final.exists():
        final.rename(aside)
    fresh.rename(final)
    _sync(final.parent)
    shutil.rmtree(aside, ignore_errors=True)


def _sync_tree(folder: Path) -> None:
    for path in folder.rglob("*"):
        _sync(path)
    _sync(folder)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
