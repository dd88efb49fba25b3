"""What a process holds: its peak, and code that is given back and still runs."""

from pathlib import Path

import torch

from minikin.base.memory import _untouched_code, give_back_code, peak_bytes

SMAPS = """\
1000-2000 r-xp 00000000 00:00 1 /lib/touched.so
Rss: 4 kB
Anonymous: 4 kB
3000-5000 r-xp 00000000 00:00 1 /lib/clean.so
Anonymous: 0 kB
5000-6000 r--p 00000000 00:00 1 /lib/clean.so
Anonymous: 0 kB
7000-8000 rw-p 00000000 00:00 1 /lib/clean.so
Anonymous: 0 kB
9000-a000 r-xp 00000000 00:00 0 [vdso]
Anonymous: 0 kB
"""


def test_only_code_that_nothing_has_written_to_is_given_back():
    assert list(_untouched_code(SMAPS)) == [(0x3000, 0x5000)]


def test_code_that_was_given_back_runs_as_before():
    x = torch.randn(40, 40, generator=torch.Generator().manual_seed(1))
    before = torch.linalg.svdvals(x @ x.T)
    held = resident()
    give_back_code()
    assert resident() < held
    assert torch.equal(torch.linalg.svdvals(x @ x.T), before)


def test_the_peak_follows_what_is_used():
    used = torch.ones(60_000_000)
    assert peak_bytes() > used.nbytes


def resident():
    return int(Path("/proc/self/statm").read_text().split()[1])
