"""A process that serves a GGUF file through llama.cpp, started when it is needed and again when it has died."""

import json
import secrets
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from selectors import EVENT_READ, DefaultSelector
from threading import Lock
from typing import final

from minikin.base.errors import EngineError

_LONGEST_START = 600.0  # seconds that a file may take to be read
_PATIENCE = 5.0  # seconds that a process has to end by itself
_SPARE = 6 << 30  # bytes of address space for libraries, threads and products, beside the file and what it remembers


@final
class Child:
    """One process at a time; `failed` if it died and could not be started again.

    `threads` compute one token, `together` several at once. `memory` are bytes of a full cache.

    Raises EngineError if it cannot be started.
    """

    def __init__(self, path: Path, *, slots: int, context: int, threads: int, together: int, memory: int) -> None:
        size = 3 * path.stat().st_size + 2 * memory + _SPARE
        module = [sys.executable, "-P", "-m", "minikin.engine.llamacpp_child"]  # -P: nothing of the current folder
        self._command = [*module, str(path), *map(str, (slots, context, threads, together, size))]
        self._path, self.key, self._lock = path, secrets.token_hex(16), Lock()
        self.failed = self._closed = False
        self._starting: subprocess.Popen[str] | None = None
        self._process, self._address = self._started()

    def address(self) -> str:
        """Where it listens; a process that has died is replaced first. Raises EngineError once it is closed."""
        with self._lock:
            if self._closed:
                raise EngineError("the engine is closed")
            if self._process.poll() is not None:
                _let_go(self._process)
                self.failed = True  # until it has been started again
                self._process, self._address = self._started()
                self.failed = False
            return self._address

    def died(self) -> str | None:
        """How the process ended, if it did without being asked."""
        try:
            code = self._process.wait(0.2)
        except subprocess.TimeoutExpired:
            return None
        return f"llama.cpp died ({f'signal {-code}' if code < 0 else f'exit status {code}'})"

    def close(self) -> None:
        """End it, also one that is only starting."""
        self._closed = True
        if (starting := self._starting) is not None:
            starting.kill()
        with self._lock:
            _let_go(self._process)

    def _started(self) -> tuple[subprocess.Popen[str], str]:
        process = subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,  # Ctrl-C in the terminal is the parent's, which knows when this may end
        )
        self._starting = process
        if self._closed:  # just now
            process.kill()
        told: dict[str, str] = {}
        try:
            told = self._said(process)
        finally:
            self._starting = None
            if "address" not in told:
                _let_go(process)
        if "address" in told:
            return process, told["address"]
        status = process.returncode
        raise EngineError(told.get("problem") or f"{self._path}: llama.cpp ended at once (exit status {status})")

    def _said(self, process: subprocess.Popen[str]) -> dict[str, str]:
        """What a process that was given its key says of itself; nothing if it has died."""
        assert process.stdin is not None
        assert process.stdout is not None
        with DefaultSelector() as waiting, suppress(BrokenPipeError):
            process.stdin.write(self.key + "\n")
            process.stdin.flush()
            waiting.register(process.stdout, EVENT_READ)
            if not waiting.select(_LONGEST_START):
                return {"problem": f"{self._path}: took too long"}
            return json.loads(process.stdout.readline() or "{}")
        return {}


def _let_go(process: subprocess.Popen[str]) -> None:
    """End a process, if it has not ended: it lives as long as its input."""
    assert process.stdin is not None
    assert process.stdout is not None
    with suppress(BrokenPipeError):  # it may have died with the key unread
        process.stdin.close()
    try:
        process.wait(_PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    process.stdout.close()
