"""Muon for hidden matrices, AdamW for embeddings, tables and scales, and the schedule of their learning rate.

Warm-up, stable, decay (Hu et al. 2024, "MiniCPM", §4): linear rise, constant, linear fall to zero.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, nn
from torch.optim import AdamW

from minikin.train.muon import Muon


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
    """The two optimizers of one decoder, stepped as one."""

    def __init__(
        self, decoder: nn.Module, schedule: Schedule, weight_decay: float, clip_norm: float, dtype: torch.dtype
    ) -> None:
        matrices, others = _sorted_parameters(decoder)
        self.dtype = dtype
        self._muon = Muon(matrices, weight_decay, dtype)
        self._adamw = AdamW(others, lr=schedule.peak, betas=(0.9, 0.95), weight_decay=0.0, fused=True)
        self._parameters = [*matrices, *others]
        self._schedule, self._clip_norm = schedule, clip_norm

    def step(self, step: int) -> float:
        """Clip, move and forget the gradients; returns their norm before clipping.

        A norm that is not finite leaves the weights as they were.
        """
        norm = nn.utils.clip_grad_norm_(self._parameters, self._clip_norm)
        if torch.isfinite(norm):
            learning_rate = self._schedule.at(step)
            self._muon.step(learning_rate)
            self._adamw.param_groups[0]["lr"] = learning_rate
            self._adamw.step()
        for parameter in self._parameters:
            parameter.grad = None
        return float(norm)

    def tensors(self) -> dict[str, Tensor]:
        """All state, by name, to be saved beside the weights."""
        adamw = {
            f"adamw.{position}.{name}": value
            for position, state in enumerate(self._adamw_states())
            for name, value in state.items()
        }
        return {f"muon.{name}": value for name, value in self._muon.tensors().items()} | adamw

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Take over state that `tensors` gave."""
        for name, momentum in self._muon.tensors().items():
            momentum.copy_(tensors[f"muon.{name}"])
        for position, state in enumerate(self._adamw_states()):
            prefix = f"adamw.{position}."
            state.update({name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)})

    def _adamw_states(self) -> Iterator[dict[str, Tensor]]:
        for parameter in self._adamw.param_groups[0]["params"]:
            yield self._adamw.state[parameter]


def _sorted_parameters(decoder: nn.Module) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    matrices, others = [], []
    for name, parameter in decoder.named_parameters():
        # one row of an embedding is one token: orthogonalising over tokens would mix what they learned
        is_matrix = parameter.ndim == 2 and "embed_tokens" not in name
        (matrices if is_matrix else others).append(parameter)
    return matrices, others
