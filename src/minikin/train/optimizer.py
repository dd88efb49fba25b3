"""Muon for hidden matrices, AdamW for embeddings and scales, by rows for tables, and their learning rate's schedule.

Warm-up, stable, decay (Hu et al. 2024, "MiniCPM", §4): linear rise, constant, linear fall towards zero.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, _foreach_mul_, nn  # pyright: ignore[reportPrivateImportUsage]
from torch.optim import AdamW

from minikin.train.muon import Muon
from minikin.train.rows import RowAdam, row_gradient

_BETAS = (0.9, 0.95)


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """Learning rate over `steps` steps; `warmup` and `decay` are shares of them."""

    peak: float
    steps: int
    warmup: float
    decay: float

    def at(self, step: int) -> float:
        """Learning rate of step `step`, counted from 0."""
        rise = (step + 1) / max(1.0, self.warmup * self.steps)
        fall = (self.steps - step) / max(1.0, self.decay * self.steps)
        return self.peak * min(1.0, rise, fall)


@final
class Optimizers:
    """The optimizers of one decoder, stepped as one."""

    def __init__(
        self, decoder: nn.Module, schedule: Schedule, weight_decay: float, clip_norm: float, dtype: torch.dtype
    ) -> None:
        matrices, tables, others = _sorted_parameters(decoder)
        self.dtype, self.device = dtype, next(decoder.parameters()).device
        self._muon = Muon(matrices, weight_decay, dtype)
        self._adamw = AdamW(others, lr=schedule.peak, betas=_BETAS, weight_decay=0.0, fused=True)
        self._row_adams = [RowAdam(table, _BETAS) for table in tables]
        self._dense, self._tables = [*matrices, *others], tables
        self._schedule, self._clip_norm = schedule, clip_norm

    def step(self, step: int) -> float:
        """Clip, move and forget the gradients; returns their norm before clipping.

        A norm that is not finite leaves the weights as they were.
        """
        of_rows = [row_gradient(table) for table in self._tables]
        gradients = [parameter.grad for parameter in self._dense if parameter.grad is not None]
        gradients += [gradient.slopes for gradient in of_rows]
        norm = nn.utils.get_total_norm(gradients)
        if torch.isfinite(norm):
            _shorten(gradients, norm, self._clip_norm)
            learning_rate = self._schedule.at(step)
            self._muon.step(learning_rate)
            self._adamw.param_groups[0]["lr"] = learning_rate
            self._adamw.step()
            for row_adam, gradient in zip(self._row_adams, of_rows, strict=True):
                row_adam.step(gradient, learning_rate)
        for parameter in (*self._dense, *self._tables):
            parameter.grad = None
        return float(norm)

    def tensors(self) -> dict[str, Tensor]:
        """All state, by name, to be saved beside the weights."""
        return {f"{owner}.{name}": value for owner, state in self._states().items() for name, value in state.items()}

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Take over state that `tensors` gave."""
        for name, momentum in self._muon.tensors().items():
            momentum.copy_(tensors[f"muon.{name}"])
        for position, state in enumerate(self._adamw_states()):
            state.update(_within(tensors, f"adamw.{position}.", self.device))
        for position, row_adam in enumerate(self._row_adams):
            row_adam.restore(_within(tensors, f"rows.{position}.", self.device))

    def _states(self) -> dict[str, dict[str, Tensor]]:
        adamw = {f"adamw.{position}": state for position, state in enumerate(self._adamw_states())}
        rows = {f"rows.{position}": row_adam.tensors() for position, row_adam in enumerate(self._row_adams)}
        return {"muon": self._muon.tensors()} | adamw | rows

    def _adamw_states(self) -> Iterator[dict[str, Tensor]]:
        for parameter in self._adamw.param_groups[0]["params"]:
            yield self._adamw.state[parameter]


def _sorted_parameters(decoder: nn.Module) -> tuple[list[nn.Parameter], list[nn.Parameter], list[nn.Parameter]]:
    """Matrices, tables that are only looked up, and all others."""
    looked_up = {module.weight for module in decoder.modules() if isinstance(module, nn.Embedding) and module.sparse}
    matrices, tables, others = [], [], []
    for name, parameter in decoder.named_parameters():
        # one row of an embedding is one token: orthogonalising over tokens would mix what they learned
        is_matrix = parameter.ndim == 2 and "embed_tokens" not in name
        (tables if parameter in looked_up else matrices if is_matrix else others).append(parameter)
    return matrices, tables, others


def _shorten(gradients: list[Tensor], norm: Tensor, longest: float) -> None:
    """Scale gradients of a common norm as `torch.nn.utils.clip_grad_norm_` does, which takes no sparse ones."""
    _foreach_mul_(gradients, (longest / (norm + 1e-6)).clamp(max=1.0))


def _within(tensors: dict[str, Tensor], prefix: str, device: torch.device) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor.to(device) for name, tensor in tensors.items() if name.startswith(prefix)}
