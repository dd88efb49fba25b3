"""A named generator for every use of chance, so that no use disturbs another."""

import numpy
import torch

from minikin.base.files import digest


def seed_for(seed: int, *names: str | int) -> int:
    """A 63-bit seed that depends on the recipe's seed and on what it is for."""
    return int(digest(str(seed), *(str(name) for name in names))[:16], 16) >> 1


def torch_generator(seed: int, *names: str | int) -> torch.Generator:
    """Torch's generator for one named use."""
    return torch.Generator().manual_seed(seed_for(seed, *names))


def numpy_generator(seed: int, *names: str | int) -> numpy.random.Generator:
    """NumPy's generator for one named use."""
    return numpy.random.default_rng(seed_for(seed, *names))
