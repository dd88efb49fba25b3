"""Losses over the vocabulary, each with its slope by hand.

Logits are the largest tensors of a step, and what a step does with them is paid in passes over memory. Asked for the
same, autograd passes over them some three times as often: a distillation's losses took 77 ms for 2,048 rows of 4,096
logits, and take 21 ms here (two threads).
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from minikin.base.shapes import Logits


@dataclass(frozen=True, kw_only=True)
class Sloped:
    """The parts of a loss [parts], in nats, and the slope of their sum by the logits.

    The slope is made when it is asked for, in the place of what the parts were made from: ask once.
    """

    parts: Tensor
    slope: Callable[[], Logits]


def cross_entropy(logits: Logits, targets: Tensor, weights: Tensor) -> Sloped:
    """Sum over tokens of weight · −log p(target); logits [tokens, vocab], targets and weights [tokens]."""
    log_p = functional.log_softmax(logits.float(), -1)

    def slope() -> Logits:
        return _less(log_p.exp_(), targets, 1.0).mul_(weights[:, None])

    return Sloped(parts=_surprise(log_p, targets, weights)[None], slope=slope)


def distillation(
    student: Logits, teacher: Logits, targets: Tensor, weights: Tensor, truth_share: float, temperature: float
) -> Sloped:
    """(1 − share) · Σ weight · KL(teacher ‖ student) and share · Σ weight · −log p(target), as two parts.

    The divergence is of both at a temperature, times temperature² so that its slope keeps its size
    (Hinton et al. 2015, eq. 4).
    """
    log_p = functional.log_softmax(student.float(), -1)
    softer = log_p if temperature == 1 else functional.log_softmax(student.float() / temperature, -1)
    log_q = functional.log_softmax(teacher.float() if temperature == 1 else teacher.float() / temperature, -1)
    q = log_q.exp()
    divergence = (q * log_q.sub_(softer)).sum(-1)
    parts = torch.stack(
        (
            (1 - truth_share) * temperature**2 * (divergence * weights).sum(),
            truth_share * _surprise(log_p, targets, weights),
        )
    )

    def slope() -> Logits:
        if softer is log_p:
            mixed = log_p.exp_().sub_(q, alpha=1 - truth_share)
        else:
            apart = softer.exp_().sub_(q)
            mixed = log_p.exp_().mul_(truth_share).add_(apart, alpha=(1 - truth_share) * temperature)
        return _less(mixed, targets, truth_share).mul_(weights[:, None])

    return Sloped(parts=parts, slope=slope)


def _surprise(log_p: Logits, targets: Tensor, weights: Tensor) -> Tensor:
    return -(log_p.gather(1, targets[:, None])[:, 0] * weights).sum()


def _less(p: Logits, targets: Tensor, share: float) -> Logits:
    """Less a share of 1 at every target, in place."""
    return p.scatter_add_(1, targets[:, None], p.new_full((len(p), 1), -share))
