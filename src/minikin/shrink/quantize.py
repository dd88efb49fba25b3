"""A decoder whose weights lie on grids of 8 or 4 bits, and how it is trained further there.

Products get the numbers that are least wrong for the inputs they see; tables that are only looked up, those that are
least wrong by themselves. While it is trained, every product is made with the weights on their grids, and its
gradient goes to the weights as they would be without (straight-through; Bengio et al. 2013, arXiv 1308.3432).
"""

from collections.abc import Mapping
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized, register_parametrization, remove_parametrizations

from minikin.model.decoder import Decoder
from minikin.shrink.grid import BLOCK, compensated, on_grid, searched

FLOAT16 = 16  # bits that need no grid
_AT_ONCE = 1 << 22  # weights that are put on a grid together


@torch.no_grad()
def put_on_grids(decoder: Decoder, bits: Mapping[str, int], moments: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Move the weights named in `bits` to grids of so many, or round them to float16 if it is 16; returns the scales.

    `moments` are of what goes into each product, as `second_moments` gives them. What is moved is in float32 and in
    memory afterwards, whatever it was before.
    """
    scales: dict[str, Tensor] = {}
    for name, parameter in decoder.named_parameters():
        if name not in bits:
            continue
        parameter.data = parameter.data.to(torch.float32, copy=True)
        if bits[name] == FLOAT16:
            parameter.data = parameter.data.half().float()
        else:
            scales[name] = _moved(parameter.data, bits[name], moments.get(name.removesuffix(".weight")))
    if decoder.tables is not None:
        decoder.tables.file = None  # rows as they were
    return scales


def _moved(weight: Tensor, bits: int, moments: Tensor | None) -> Tensor:
    found = []
    for rows in weight.split(max(1, _AT_ONCE // weight.shape[1])):
        grid = searched(rows, bits) if moments is None else compensated(rows, bits, moments)
        rows.copy_(grid.weights)
        found.append(grid.scales)
    return torch.cat(found)


def hold_on_grids(decoder: Decoder, bits: Mapping[str, int], scales: Mapping[str, Tensor]) -> None:
    """Let a decoder compute with its weights on their grids while it is trained.

    Scales stay what they are, and so do tables that are only looked up.
    """
    for name, scale in scales.items():
        module = decoder.get_submodule(name.removesuffix(".weight"))
        if isinstance(module, nn.Embedding) and module.sparse:
            module.weight.requires_grad = False
        else:
            register_parametrization(module, "weight", _OnGrid(scale.to(decoder.device), bits[name]))


def let_go(decoder: Decoder) -> dict[str, Tensor]:
    """Leave a decoder's weights where their grids held them; returns the scales that held them."""
    scales: dict[str, Tensor] = {}
    for name, module in list(decoder.named_modules()):
        if isinstance(module, nn.Embedding) and module.sparse:
            module.weight.requires_grad = True
        if is_parametrized(module, "weight"):
            scales[f"{name}.weight"] = module.get_submodule("parametrizations.weight.0").get_buffer("scales").cpu()
            remove_parametrizations(module, "weight", leave_parametrized=True)
    return scales


@final
class _OnGrid(nn.Module):
    """The points of a grid that are nearest to a weight."""

    scales: Tensor

    def __init__(self, scales: Tensor, bits: int) -> None:
        super().__init__()
        self.register_buffer("scales", scales)
        self._bits = bits

    def forward(self, weight: Tensor) -> Tensor:
        return _StraightThrough.apply(weight, self.scales, self._bits)  # type: ignore[no-any-return]


class _StraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weight: Tensor, scales: Tensor, bits: int) -> Tensor:
        return on_grid(weight.view(*scales.shape, BLOCK), scales, bits).view(weight.shape)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return gradient, None, None
