"""Every test runs on one thread and with the algorithms a build uses."""

import pytest
import torch
from hypothesis import settings

from minikin.base.device import prepare

# a law is no stopwatch: on a busy machine any example can be slow
settings.register_profile("laws", deadline=None)
settings.load_profile("laws")


@pytest.fixture(autouse=True)
def _one_thread():
    prepare(1)
    torch.manual_seed(0)
