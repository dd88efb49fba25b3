"""Memory of this process: what it holds, its peak, and giving back what was only needed to start."""

import ctypes
import resource
import sys
from collections.abc import Iterator
from pathlib import Path

_DONTNEED = 4  # madvise(2)


def give_back_code() -> None:
    """Unmap the pages of program code that are there but idle; the kernel maps those that are needed again.

    Importing PyTorch leaves 70 MB of its code resident, most of which only ever runs once. Only regions of code that
    nothing has written to are given up, so what comes back is what was there. Does nothing where there is no /proc.
    """
    try:
        regions = list(_untouched_code(Path("/proc/self/smaps").read_text(encoding="utf-8")))
    except OSError:
        return
    libc = ctypes.CDLL(None)
    for start, end in regions:
        libc.madvise(ctypes.c_void_p(start), ctypes.c_size_t(end - start), _DONTNEED)


def peak_bytes() -> int:
    """The most that this process had resident; Linux's rusage would include the process that started it."""
    try:
        return _status("VmHWM")
    except (OSError, KeyError):
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024


def _status(name: str) -> int:
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return int(dict(line.split(":", 1) for line in lines)[name].split()[0]) * 1024


def _untouched_code(smaps: str) -> Iterator[tuple[int, int]]:
    """Start and end of every region that is a file's code, read and run but never written, as smaps(5) tells."""
    region: tuple[int, int] | None = None
    for line in smaps.splitlines():
        words = line.split()
        if not words[0].endswith(":"):
            start, _, end = words[0].partition("-")
            is_code = words[1] == "r-xp" and len(words) > 5 and words[5].startswith("/")
            region = (int(start, 16), int(end, 16)) if is_code else None
        elif words[0] == "Anonymous:" and words[1] == "0" and region is not None:
            yield region
