"""One event → one JSON line in a log file and one change of the progress display on stderr."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, final

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from minikin.base.files import make_folder, storage_errors


@final
class Log:
    """Where a build tells what it does."""

    def __init__(self, path: Path, console: Console) -> None:
        self._path, self._console = path, console

    def event(self, name: str, **fields: Any) -> None:
        """Append one JSON line."""
        line = json.dumps({"time": round(time.time(), 3), "event": name, **fields}, ensure_ascii=False)
        with storage_errors(self._path):
            make_folder(self._path.parent)
            with self._path.open("a", encoding="utf-8") as file:
                file.write(line + "\n")

    def say(self, text: str) -> None:
        """One line for whoever watches."""
        # as it is: ":100:" in a name is no emoji, "[x]" no colour
        self._console.print(text, highlight=False, markup=False, emoji=False, soft_wrap=True)

    @contextmanager
    def bar(self, title: str, total: int, done: int = 0) -> Iterator["Bar"]:
        """A progress bar that is removed at the end; a pipe gets a line every few seconds instead."""
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}", markup=False),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(elapsed_when_finished=False, compact=True),
        )
        moving = self._console.is_terminal
        if not moving:
            found = f"{total:,} to do" if not done else f"going on after {done:,} of {total:,}"
            self._console.print(f"  {title}: {found}", highlight=False, markup=False, emoji=False)
        with Progress(*columns, console=self._console, transient=True, disable=not moving) as progress:
            task = progress.add_task(title, total=total, completed=done, note="")
            yield Bar(progress, task, self._console, title, total)


@final
class Bar:
    """One running bar."""

    _PIPE_SECONDS = 20.0

    def __init__(self, progress: Progress, task: TaskID, console: Console, title: str, total: int) -> None:
        self._progress, self._task, self._console = progress, task, console
        self._title, self._total, self._said = title, total, time.monotonic()

    def at(self, done: int, note: str = "") -> None:
        """Move to `done` and show a note such as the loss."""
        self._progress.update(self._task, completed=done, note=note)
        if not self._console.is_terminal and time.monotonic() - self._said > self._PIPE_SECONDS:
            self._said = time.monotonic()
            self._console.print(
                f"  {self._title} {done}/{self._total} {note}", highlight=False, markup=False, emoji=False
            )
