"""Weights on a grid: blocks of 32 along rows, each with one scale and a whole number of few bits a weight.

As GGUF's Q8_0 and Q4_0 store them: the scale is a float16, the numbers are −127…127 or −8…7. The nearest numbers are
not the best ones: what counts is what comes out of a product. So scales are chosen by the error for inputs as they are
seen, and what a column is off by is made up for by those after it (Frantar et al. 2023, "GPTQ", §3, in blocks).
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

BLOCK = 32
_LOWEST, _HIGHEST = {4: -8, 8: -127}, {4: 7, 8: 127}
# tries around the scale at which a block's largest weight is at the grid's end
_TRIES = torch.linspace(0.75, 1.15, 21)
_DAMPING = 0.01  # of the mean second moment: inputs that were hardly seen still count


@dataclass(frozen=True, kw_only=True)
class Grid:
    """A matrix on its grid: `scales` [rows, blocks], float16 numbers in float32; `numbers` int8 [rows, columns]."""

    scales: Tensor
    numbers: Tensor

    @property
    def weights(self) -> Tensor:
        """What is left of the matrix, float32 [rows, columns]."""
        return self.numbers.float() * self.scales.repeat_interleave(BLOCK, 1)


def nearest(matrix: Tensor, bits: int) -> Grid:
    """Every number the nearest, with scales at which a block's largest weight is at the grid's end."""
    scales = _scales_at_end(_blocks(matrix), bits)
    return Grid(scales=scales, numbers=_numbers(_blocks(matrix), scales, bits).reshape(matrix.shape))


def searched(matrix: Tensor, bits: int, weight: Tensor | None = None) -> Grid:
    """Scales by the least squared error, each column's counting `weight` [columns]: for rows that are looked up."""
    blocks = _blocks(matrix)
    counts = torch.ones(1, *blocks.shape[1:]) if weight is None else weight.float().view(1, -1, BLOCK)
    scales = _best_scales(blocks, counts, bits)
    return Grid(scales=scales, numbers=_numbers(blocks, scales, bits).reshape(matrix.shape))


def compensated(matrix: Tensor, bits: int, moments: Tensor) -> Grid:
    """Scales and numbers by the error of `matrix @ x`, given the mean of x xᵀ, [columns, columns]."""
    left, rows = matrix.double().clone(), len(matrix)
    inverse = _inverse_factor(moments)
    scales, numbers = [], []
    for begin in range(0, matrix.shape[1], BLOCK):
        here = slice(begin, begin + BLOCK)
        # how much an error of a column costs once all later columns have made up for it
        cost = inverse.diagonal()[here].square().reciprocal().float()
        scale = _best_scales(left[:, here].float().view(rows, 1, BLOCK), cost.view(1, 1, BLOCK), bits)[:, 0]
        errors = []
        for column in range(begin, here.stop):
            number = _numbers(left[:, column, None, None].float(), scale[:, None], bits)[:, 0, 0]
            error = (left[:, column] - number * scale) / inverse[column, column]
            left[:, column : here.stop] -= error[:, None] * inverse[column, column : here.stop]
            errors.append(error)
            numbers.append(number)
        left[:, here.stop :] -= torch.stack(errors, 1) @ inverse[here, here.stop :]
        scales.append(scale)
    return Grid(scales=torch.stack(scales, 1), numbers=torch.stack(numbers, 1))


def on_grid(blocks: Tensor, scales: Tensor, bits: int) -> Tensor:
    """The nearest weights that given scales [rows, blocks] allow, [rows, blocks, 32]."""
    return _numbers(blocks, scales, bits).float() * scales[..., None]


def _inverse_factor(moments: Tensor) -> Tensor:
    """Upper Cholesky factor of the inverse of the damped moments."""
    exact = moments.double()
    damped = exact + torch.eye(len(exact)) * exact.diagonal().mean().clamp(min=1e-12) * _DAMPING
    return torch.linalg.cholesky(torch.cholesky_inverse(torch.linalg.cholesky(damped)), upper=True)


def _blocks(matrix: Tensor) -> Tensor:
    """[rows, columns] → [rows, blocks, 32]"""
    return matrix.float().reshape(len(matrix), -1, BLOCK)


def _scales_at_end(blocks: Tensor, bits: int) -> Tensor:
    """[rows, blocks]; with four bits the grid reaches one further down, so there the largest weight is put."""
    largest = blocks.gather(-1, blocks.abs().argmax(-1, keepdim=True))[..., 0]
    found = largest / _LOWEST[bits] if bits == 4 else largest.abs() / _HIGHEST[bits]
    return found.half().float()


def _best_scales(blocks: Tensor, counts: Tensor, bits: int) -> Tensor:
    best = _scales_at_end(blocks, bits)
    least = _error(blocks, best, counts, bits)
    for tried in _tried_scales(best, bits):
        error = _error(blocks, tried, counts, bits)
        better = error < least
        best, least = torch.where(better, tried, best), torch.where(better, error, least)
    return best


def _tried_scales(scales: Tensor, bits: int) -> Iterator[Tensor]:
    for sign in (1, -1) if bits == 4 else (1,):  # the other grid is the same from both ends
        yield from ((sign * share * scales).half().float() for share in _TRIES)


def _error(blocks: Tensor, scales: Tensor, counts: Tensor, bits: int) -> Tensor:
    return ((blocks - _numbers(blocks, scales, bits) * scales[..., None]).square() * counts).sum(-1)


def _numbers(blocks: Tensor, scales: Tensor, bits: int) -> Tensor:
    divisors = torch.where(scales == 0, 1.0, scales)[..., None]
    return (blocks / divisors).round().clamp(_LOWEST[bits], _HIGHEST[bits]).to(torch.int8)
