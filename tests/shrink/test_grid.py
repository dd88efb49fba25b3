"""Matrices on the grids of GGUF: its own nearest numbers, and better ones by the error of what comes out."""

import numpy
import pytest
import torch
from fakes import TINY, decoder_of, documents
from gguf import GGMLQuantizationType, quants

from minikin.model.linear import Linear
from minikin.shrink.grid import compensated, nearest, searched
from minikin.shrink.moments import HEAD, second_moments

TYPES = {4: GGMLQuantizationType.Q4_0, 8: GGMLQuantizationType.Q8_0}


def drawn(rows, columns, seed=1):
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("bits", [4, 8])
def test_nearest_is_as_the_library_rounds(bits):
    matrix = drawn(40, 96)
    matrix[3, 32:64] = 0
    theirs = quants.dequantize(quants.quantize(matrix.numpy(), TYPES[bits]), TYPES[bits])
    grid = nearest(matrix, bits)
    found = grid.weights.numpy()
    # they divide by the scale before it is a float16, so a number between two may go to the other
    assert numpy.mean(found == theirs) > 0.99
    assert numpy.abs(found - theirs).max() <= 1.01 * float(grid.scales.abs().max())


@pytest.mark.parametrize("bits", [4, 8])
def test_searched_scales_are_never_worse_and_mind_what_counts(bits):
    matrix, counts = drawn(40, 96), drawn(1, 96).square()[0]

    def error(grid, weight):
        return float(((grid.weights - matrix).square() * weight).sum())

    ones = torch.ones(96)
    assert error(searched(matrix, bits), ones) < error(nearest(matrix, bits), ones)
    assert error(searched(matrix, bits, counts), counts) < error(searched(matrix, bits), counts)


@pytest.mark.parametrize("bits", [4, 8])
def test_later_columns_make_up_for_errors_of_products(bits):
    matrix, inputs = drawn(40, 96), drawn(500, 40, seed=2) @ drawn(40, 96, seed=3) + drawn(500, 96, seed=4)
    moments = inputs.T @ inputs / len(inputs)

    def error(grid):
        return float((inputs @ (grid.weights - matrix).T).square().sum())

    assert error(compensated(matrix, bits, moments)) < 0.5 * error(searched(matrix, bits, moments.diagonal()))


@pytest.mark.parametrize("bits", [4, 8])
def test_what_is_on_a_grid_stays_there(bits):
    on_it = nearest(drawn(8, 64), bits).weights
    moments = torch.eye(64) + 0.5
    for grid in (nearest(on_it, bits), searched(on_it, bits), compensated(on_it, bits, moments)):
        assert torch.equal(grid.weights, on_it)
    nothing = compensated(torch.zeros(2, 32), bits, torch.zeros(32, 32))
    assert not nothing.weights.any()


def test_moments_are_of_what_goes_into_every_product():
    decoder, batches = decoder_of(), [documents(2, 24), documents(3, 24, seed=2)]
    found = second_moments(decoder, batches)
    names = {name for name, module in decoder.named_modules() if isinstance(module, Linear)}
    assert set(found) == names | {HEAD}
    hidden = torch.cat([decoder(each.tokens, each.positions, each.documents).flatten(0, 1) for each in batches])
    torch.testing.assert_close(found[HEAD], (hidden.T @ hidden / len(hidden)).detach())
    assert found["layers.0.mlp.down_proj"].shape == (TINY.intermediate_size,) * 2
