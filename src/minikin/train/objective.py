"""What a training step minimises: the next token, or a teacher's view of it.

Losses come back as named parts whose sum is minimised. Logits are made only where a token counts,
and in chunks: over a large vocabulary they are the largest tensors of a step.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from minikin.base.errors import TrainingError
from minikin.base.shapes import Logits
from minikin.model.decoder import Decoder
from minikin.text.batches import Batch
from minikin.train.teacher import Teacher

# logits of one chunk take at most 64 MB in float32
_CHUNK_LOGITS = 1 << 24

Parts = dict[str, Tensor]
ChunkLoss = Callable[[slice], Tensor]


class Objective(Protocol):
    """Named losses of a decoder on a batch, in nats a token that counts."""

    def losses(self, decoder: Decoder, batch: Batch) -> Parts: ...


@dataclass(frozen=True, kw_only=True)
class NextToken:
    """Cross-entropy with the token that follows."""

    def losses(self, decoder: Decoder, batch: Batch) -> Parts:
        counted = counted_positions(batch)
        hidden = decoder(batch.tokens, batch.positions, batch.documents)[counted]
        targets, weights = batch.targets[counted], batch.weights[counted]

        def chunk_loss(part: slice) -> Tensor:
            return weighted_cross_entropy(decoder.logits(hidden[part]), targets[part], weights[part])

        return {"truth": _summed(chunk_loss, len(hidden), decoder) / weights.sum()}


@dataclass(frozen=True, kw_only=True)
class Distill:
    """Forward KL with a teacher on the full distribution, mixed with the ground truth.

    `truth_share` of the loss is cross-entropy, the rest KL. `hidden_weight` scales an optional third part:
    1 − cosine between the student's last hidden state and the teacher's, seen through the channels that
    the cut kept (`teacher.kept_hidden`).
    """

    teacher: Teacher
    truth_share: float
    temperature: float = 1.0
    hidden_weight: float = 0.0

    def losses(self, decoder: Decoder, batch: Batch) -> Parts:
        counted = counted_positions(batch)
        wise = self.teacher.hidden(batch)[counted]
        hidden = decoder(batch.tokens, batch.positions, batch.documents)[counted]
        targets, weights = batch.targets[counted], batch.weights[counted]

        def chunk_loss(part: slice) -> Tensor:
            logits = decoder.logits(hidden[part])
            kl = weighted_forward_kl(logits, self.teacher.logits(wise[part]), weights[part], self.temperature)
            return torch.stack((kl, weighted_cross_entropy(logits, targets[part], weights[part])))

        kl, truth = _summed(chunk_loss, len(hidden), decoder) / weights.sum()
        parts = {"kl": (1 - self.truth_share) * kl, "truth": self.truth_share * truth}
        if self.hidden_weight:
            distance = 1 - functional.cosine_similarity(hidden, wise[:, self.teacher.kept_hidden], dim=-1)
            parts["hidden"] = self.hidden_weight * (distance * weights).sum() / weights.sum()
        return parts


def counted_positions(batch: Batch) -> Tensor:
    """Mask of the positions that count; raises TrainingError if none does."""
    counted = batch.weights > 0
    if not counted.any():
        raise TrainingError("a batch has no token to learn from; check that the data's answers are not empty")
    return counted


def weighted_cross_entropy(logits: Logits, targets: Tensor, weights: Tensor) -> Tensor:
    """Sum over tokens of weight · −log p(target), in nats."""
    return (functional.cross_entropy(logits.float(), targets, reduction="none") * weights).sum()


def weighted_forward_kl(student: Logits, teacher: Logits, weights: Tensor, temperature: float) -> Tensor:
    """Sum over tokens of weight · KL(teacher ‖ student), in nats.

    Scaled by temperature² so that its gradient keeps its size (Hinton et al. 2015, eq. 4).
    """
    log_student = functional.log_softmax(student.float() / temperature, -1)
    log_teacher = functional.log_softmax(teacher.float() / temperature, -1)
    divergence = (log_teacher.exp() * (log_teacher - log_student)).sum(-1)
    return (divergence * weights).sum() * temperature**2


@torch.no_grad()
def held_out_loss(decoder: Decoder, batches: Iterator[Batch]) -> float:
    """Cross-entropy of the answers over all batches, in nats a token that counts."""
    total = weight = 0.0
    for batch in batches:
        batch_weight = float(batch.weights.sum())
        total += float(NextToken().losses(decoder, batch)["truth"]) * batch_weight
        weight += batch_weight
    return total / weight


def _summed(chunk_loss: ChunkLoss, count: int, decoder: Decoder) -> Tensor:
    size = max(1, _CHUNK_LOGITS // decoder.config.vocab_size)
    parts = [slice(start, start + size) for start in range(0, count, size)]
    if len(parts) == 1:
        return chunk_loss(parts[0])
    # the logits of a chunk are computed again in the backward pass instead of kept
    return torch.stack([_again(chunk_loss, part) for part in parts]).sum(0)


def _again(chunk_loss: ChunkLoss, part: slice) -> Tensor:
    loss = checkpoint(chunk_loss, part, use_reentrant=False)
    assert isinstance(loss, Tensor)
    return loss
