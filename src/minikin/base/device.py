"""The machine a model runs on: device, threads, memory behaviour of the allocator, and a description for reports."""

import ctypes
import os
import platform
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import psutil
import torch
from torch.utils import deterministic

from minikin.base.errors import DeviceError
from minikin.base.memory import give_back_code

# glibc gives buffers above its mmap threshold back to the kernel at every free; a training step then
# pays a page fault for every 4 KB it writes. Keeping a gigabyte made steps 2–4 times faster on two cores.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_KEPT_BYTES = 1 << 30
_OLDER_MOST = 1 << 25  # the highest threshold that glibc took before 2.33
# without one of these, products in bfloat16 are emulated and slower than in float32
_NATIVE_BFLOAT16 = {"avx512_bf16", "amx_bf16", "bf16"}

CPU = torch.device("cpu")

Precision = Literal["auto", "float32", "bfloat16"]
DeviceName = Literal["auto", "cpu", "cuda"]
Compiling = Literal["auto", "on", "off"]


@dataclass(frozen=True, kw_only=True)
class Machine:
    """What a measurement was made on; `accelerator` is empty if everything was computed on the processor."""

    processor: str
    threads: int
    memory_bytes: int
    system: str
    python: str
    torch: str
    accelerator: str = ""


def device_of(asked: DeviceName) -> torch.device:
    """Where members are trained and examined; "auto" takes a CUDA device if there is one.

    Raises DeviceError if one is asked for and there is none.
    """
    there = torch.cuda.is_available()
    if asked == "cuda" and not there:
        raise DeviceError(
            f'device is cuda, but PyTorch {torch.__version__} finds none here; say device = "cpu", or install a driver '
            "and a PyTorch built for it"
        )
    return torch.device("cuda") if there and asked != "cpu" else CPU


def compiles(asked: Compiling, device: torch.device) -> bool:
    """Whether training passes are compiled; "auto" does where it gains: not on a processor."""
    return device.type != "cpu" if asked == "auto" else asked == "on"


def prepare(threads: int | None = None, device: torch.device = CPU) -> None:
    """Make ready to train: the threads (all cores if None), the allocator, and deterministic algorithms on the CPU.

    Elsewhere they would refuse sums that have no fixed order; a resumed training is then the same up to that order.
    """
    torch.set_num_threads(threads or _cores())
    if sys.platform == "linux" and platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        if any(libc.mallopt(_M_MMAP_THRESHOLD, most) for most in (_KEPT_BYTES, _OLDER_MOST)):
            libc.mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)
    torch.use_deterministic_algorithms(mode=device.type == "cpu")
    # every buffer of ours is written before it is read
    deterministic.fill_uninitialized_memory = False  # pyright: ignore[reportAttributeAccessIssue]


def prepare_to_answer(threads: int | None = None) -> None:
    """Set the number of threads (all cores if None), and hold as little memory as can be.

    Freed buffers that are kept are 170 MB in a published mini that reads 256 tokens. Asking for deterministic
    algorithms loads PyTorch's compiler, 70 MB; what a decoder computes without gradients is deterministic anyway.
    """
    torch.set_num_threads(threads or _cores())
    give_back_code()


def products_dtype(precision: Precision, device: torch.device = CPU) -> torch.dtype:
    """What matrix products are made in while training; "auto" takes bfloat16 where the device multiplies it."""
    if precision == "auto":
        return torch.bfloat16 if _multiplies_bfloat16(device) else torch.float32
    return {"float32": torch.float32, "bfloat16": torch.bfloat16}[precision]


def describe(device: torch.device = CPU) -> Machine:
    """The machine this process runs on, and the device that it computes on."""
    return Machine(
        processor=_processor_name(),
        threads=torch.get_num_threads(),
        memory_bytes=psutil.virtual_memory().total,
        system=f"{platform.system()} {platform.machine()}",
        python=platform.python_version(),
        torch=torch.__version__,
        accelerator=device_name(device),
    )


def device_name(device: torch.device) -> str:
    """What an accelerator is called; nothing for the processor."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else ""


def _multiplies_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return bool(_NATIVE_BFLOAT16 & _processor_flags())


def _cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _processor_name() -> str:
    return _processor_facts().get("model name") or platform.processor() or "unknown"


def _processor_flags() -> set[str]:
    facts = _processor_facts()
    return set((facts.get("flags") or facts.get("Features") or "").split())


def _processor_facts() -> dict[str, str]:
    """What Linux says of the first processor; nothing elsewhere."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").split("\n\n")[0].splitlines()
    except OSError:
        return {}
    return {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
