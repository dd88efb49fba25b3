"""What a figure is worth nothing without: the command, the machine, the threads, n, and the seed."""

import argparse
import os
import shlex
import sys

import torch

from minikin import __version__
from minikin.base.device import describe


def conditions(*, threads: int, n: str, seed: str) -> str:
    """Three lines to be printed above what was measured; `n` says what is counted, `seed` what is drawn by it."""
    machine = describe()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    software = f"minikin {__version__}, Python {machine.python}, torch {torch.__version__}"
    lines = (
        shlex.join(["python", *sys.argv]),
        f"{machine.processor}, {cores} cores, threads: {threads or cores}; {software}",
        f"n: {n}; seed: {seed}",
    )
    return "\n".join(lines)


def options(told: str | None) -> argparse.ArgumentParser:
    """A script's own options, under what it says of itself."""
    return argparse.ArgumentParser(description=told, formatter_class=argparse.RawDescriptionHelpFormatter)
