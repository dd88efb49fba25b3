"""Every test runs on one thread and with the algorithms a build uses."""

import pytest
import torch

from minikin.base.device import prepare


@pytest.fixture(autouse=True)
def _one_thread():
    prepare(1)
    torch.manual_seed(0)
