"""The machine a model runs on: threads, memory behaviour of the allocator, and a description for reports."""

import ctypes
import os
import platform
import sys
from dataclasses import dataclass

import psutil
import torch
from torch.utils import deterministic

# glibc gives buffers above its mmap threshold back to the kernel at every free; a training step then
# pays a page fault for every 4 KB it writes. Keeping a gigabyte made steps 2–4 times faster on two cores.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_KEPT_BYTES = 1 << 30


@dataclass(frozen=True, kw_only=True)
class Machine:
    """What a measurement was made on."""

    processor: str
    threads: int
    memory_bytes: int
    system: str
    python: str
    torch: str


def prepare(threads: int | None = None) -> None:
    """Set the number of threads (all cores if None), deterministic algorithms and the allocator."""
    torch.set_num_threads(threads or os.cpu_count() or 1)
    torch.use_deterministic_algorithms(mode=True)
    # every buffer of ours is written before it is read
    deterministic.fill_uninitialized_memory = False  # pyright: ignore[reportAttributeAccessIssue]
    if sys.platform == "linux" and platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(_M_MMAP_THRESHOLD, _KEPT_BYTES)
        libc.mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)


def describe() -> Machine:
    """The machine this process runs on."""
    return Machine(
        processor=_processor_name(),
        threads=torch.get_num_threads(),
        memory_bytes=psutil.virtual_memory().total,
        system=f"{platform.system()} {platform.machine()}",
        python=platform.python_version(),
        torch=torch.__version__,
    )


def _processor_name() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    except OSError:
        names = []
    return names[0] if names else platform.processor() or "unknown"
