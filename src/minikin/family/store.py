"""Where each artifact of a family lies, and whether it is the one that the recipe asks for.

An artifact is a folder with a `provenance.json`; its key is the digest of all it was made from. A folder
whose key is another is out of date and is built again beside, then replaced.
"""

import fcntl
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, final

from minikin.base.errors import CheckpointError, StorageError
from minikin.base.files import (
    interrupted,
    make_folder,
    read_json,
    remove_strays,
    storage_errors,
    whole_folder,
    write_json,
)

PROVENANCE = "provenance.json"
_PLACES = (".work", "answers", "distilled", "quantized", "written")  # below which nobody else writes


@final
class Store:
    """The artifacts of one family, in one folder."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def folder(self, name: str) -> Path:
        """Where an artifact lies or will lie."""
        return self.root / name

    def holds(self, name: str, key: str) -> bool:
        """Whether the artifact with this key is complete."""
        path = self.folder(name) / PROVENANCE
        return path.is_file() and read_json(path).get("key") == key  # what has random weights has none

    def provenance(self, name: str) -> dict[str, Any]:
        """What an artifact was made from; raises CheckpointError if there is none."""
        path = self.folder(name) / PROVENANCE
        if not path.is_file():
            raise CheckpointError(f"{self.folder(name)}: is not built yet; run minikin build with the family's recipe")
        return read_json(path)

    @contextmanager
    def fresh(self, name: str, key: str, facts: dict[str, Any]) -> Iterator[Path]:
        """A folder to fill, which becomes the artifact when the block ends well."""
        with whole_folder(self.folder(name)) as folder:
            yield folder
            write_json(folder / PROVENANCE, {"key": key, **facts})
        shutil.rmtree(self.work(name, ""), ignore_errors=True)

    def work(self, name: str, key: str) -> Path:
        """Where an unfinished artifact keeps what it needs to go on."""
        return self.root / ".work" / name / key[:16]

    def tidy(self) -> None:
        """Delete what builds that died left half-written; for who holds the lock and has not begun to write.

        States that a training can go on from are whole, and stay.
        """
        below = (path for name in _PLACES for path in self.root.joinpath(name).rglob("*") if path.is_dir())
        with storage_errors(self.root):
            for folder in [self.root, *map(self.root.joinpath, _PLACES), *below]:
                for final in interrupted(folder):
                    remove_strays(final)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep a second build out of this folder; raises StorageError if there is one."""
        with storage_errors(self.root):
            make_folder(self.root)
            file = (self.root / ".lock").open("w")
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise StorageError(
                    f"{self.root}: another build is at work here; wait for it or use another --out"
                ) from error
            yield
