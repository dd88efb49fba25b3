"""Muon for hidden matrices, AdamW for embeddings, tables and scales, and the schedule of their learning rate.

Warm-up, stable, decay (Hu et al. 2024, "MiniCPM", §4): linear rise, constant, linear fall to zero.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, nn
from torch.optim import AdamW, Muon, Optimizer


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

    def __init__(self, decoder: nn.Module, schedule: Schedule, weight_decay: float, clip_norm: float) -> None:
        matrices, others = _sorted_parameters(decoder)
        # match_rms_adamw: one learning rate means the same size of step for both (Liu et al. 2025, eq. 4)
        muon = Muon(matrices, lr=schedule.peak, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw")
        adamw = AdamW(others, lr=schedule.peak, betas=(0.9, 0.95), weight_decay=0.0, fused=True)
        self._both: tuple[Optimizer, Optimizer] = (muon, adamw)
        self._parameters = [*matrices, *others]
        self._schedule, self._clip_norm = schedule, clip_norm

    def step(self, step: int) -> float:
        """Clip, move and forget the gradients; returns their norm before clipping.

        A norm that is not finite leaves the weights as they were.
        """
        norm = nn.utils.clip_grad_norm_(self._parameters, self._clip_norm)
        if torch.isfinite(norm):
            for optimizer in self._both:
                for group in optimizer.param_groups:
                    group["lr"] = self._schedule.at(step)
                optimizer.step()
        for optimizer in self._both:
            optimizer.zero_grad(set_to_none=True)
        return float(norm)

    def tensors(self) -> dict[str, Tensor]:
        """All state, by name, to be saved beside the weights."""
        return {
            f"{which}.{position}.{name}": value
            for which, position, state in self._states()
            for name, value in state.items()
        }

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Take over state that `tensors` gave."""
        for which, optimizer in enumerate(self._both):
            for position, parameter in enumerate(optimizer.param_groups[0]["params"]):
                prefix = f"{which}.{position}."
                found = {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}
                optimizer.state[parameter].update(found)

    def _states(self) -> Iterator[tuple[int, int, dict[str, Tensor]]]:
        for which, optimizer in enumerate(self._both):
            for position, parameter in enumerate(optimizer.param_groups[0]["params"]):
                yield which, position, optimizer.state[parameter]


def _sorted_parameters(decoder: nn.Module) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    matrices, others = [], []
    for name, parameter in decoder.named_parameters():
        # one row of an embedding is one token: orthogonalising over tokens would mix what they learned
        is_matrix = parameter.ndim == 2 and "embed_tokens" not in name
        (matrices if is_matrix else others).append(parameter)
    return matrices, others
