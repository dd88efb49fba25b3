"""What a training step minimises: the next token, or a teacher's view of it.

Losses come back as named parts whose sum is minimised. Nothing is computed where no token counts.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

from minikin.base.errors import TrainingError
from minikin.base.shapes import Logits
from minikin.model.decoder import Decoder
from minikin.text.batches import Batch
from minikin.train.head import head_losses
from minikin.train.losses import Sloped, cross_entropy, distillation
from minikin.train.replying import Replying, disagreement, exchange, mistaken, scores
from minikin.train.teacher import Teacher

# the processor's library makes a kernel for every new shape: without this each step was one, and the village's full
# model trained at 9,700 instead of 15,400 tokens/s and held 2.1 instead of 0.9 GB
_ALIKE = 64

Parts = dict[str, Tensor]


class Objective(Protocol):
    """Named losses of a decoder on a batch, in nats a token that counts."""

    def losses(self, decoder: Decoder, batch: Batch) -> Parts: ...


@dataclass(frozen=True, kw_only=True)
class NextToken:
    """Cross-entropy with the token that follows, and with the reply that follows if replies are told apart."""

    replying: Replying | None = None

    def losses(self, decoder: Decoder, batch: Batch) -> Parts:
        counted = counted_positions(batch)
        hidden = decoder(batch.tokens, batch.positions, batch.documents, pick=counted.pick)

        def losses(logits: Logits, part: slice) -> Sloped:
            return cross_entropy(logits, counted.targets[part], counted.shares[part])

        (truth,) = head_losses(decoder, hidden, losses)
        parts = {"truth": truth}
        if self.replying and (found := exchange(batch, self.replying.opening)):
            parts["reply"] = self.replying.weight * mistaken(scores(decoder, found, hidden[counted.rank(found.places)]))
        return parts


@dataclass(frozen=True, kw_only=True)
class Distill:
    """Forward KL with a teacher on the full distribution, mixed with the ground truth.

    `truth_share` of the loss is cross-entropy, the rest KL. `hidden_weight` scales an optional third part:
    1 − cosine between the student's last hidden state and the teacher's, seen through the channels that
    the cut kept (`teacher.kept_hidden`). Where replies are told apart, the teacher's view of them is mixed in alike.
    """

    teacher: Teacher
    truth_share: float
    temperature: float = 1.0
    hidden_weight: float = 0.0
    replying: Replying | None = None

    def losses(self, decoder: Decoder, batch: Batch) -> Parts:
        counted = counted_positions(batch)
        wise = self.teacher.hidden(batch, counted.pick)
        hidden = decoder(batch.tokens, batch.positions, batch.documents, pick=counted.pick)

        def losses(logits: Logits, part: slice) -> Sloped:
            targets, shares = counted.targets[part], counted.shares[part]
            view = self.teacher.logits(wise[part])
            return distillation(logits, view, targets, shares, self.truth_share, self.temperature)

        kl, truth = head_losses(decoder, hidden, losses)
        parts = {"kl": kl, "truth": truth}
        if self.hidden_weight:
            distance = 1 - functional.cosine_similarity(hidden, wise[:, self.teacher.kept_hidden], dim=-1)
            parts["hidden"] = self.hidden_weight * (distance * counted.shares).sum()
        if self.replying and (found := exchange(batch, self.replying.opening)):
            places = counted.rank(found.places)
            mine, theirs = scores(decoder, found, hidden[places]), self.teacher.scores(found, wise[places])
            mixed = (1 - self.truth_share) * disagreement(mine, theirs) + self.truth_share * mistaken(mine)
            parts["reply"] = self.replying.weight * mixed
        return parts


@dataclass(frozen=True, kw_only=True)
class Counted:
    """The positions of a batch that count: where they are in batch · time, what follows, and their shares of 1.

    The first `genuine` of them are all there are, ascending; the others only fill up.
    """

    genuine: int
    places: Tensor
    targets: Tensor
    shares: Tensor

    def pick(self, x: Tensor) -> Tensor:
        """[batch, time, …] → [chosen, …]"""
        return x.flatten(0, 1).index_select(0, self.places)

    def rank(self, places: Tensor) -> Tensor:
        """Which of the positions that count these are."""
        return torch.searchsorted(self.places[: self.genuine], places)


def counted_positions(batch: Batch) -> Counted:
    """Where the batch's weights are above zero; raises TrainingError if nowhere.

    The first position is repeated with a share of 0 until there are a multiple of `_ALIKE`.
    """
    places = batch.weights.flatten().nonzero()[:, 0]
    if not len(places):
        raise TrainingError("a batch has no token to learn from; check that the data's answers are not empty")
    more = -len(places) % _ALIKE
    places = torch.cat((places, places[:1].expand(more)))
    weights = batch.weights.flatten()[places]
    weights[len(places) - more :] = 0
    genuine = len(places) - more
    return Counted(
        genuine=genuine, places=places, targets=batch.targets.flatten()[places], shares=weights / weights.sum()
    )


@torch.no_grad()
def held_out_loss(decoder: Decoder, batches: Iterator[Batch]) -> float:
    """Cross-entropy of the answers over all batches, in nats a token that counts."""
    total = weight = 0.0
    for rows in batches:
        batch = rows.to(decoder.device)
        batch_weight = float(batch.weights.sum())
        total += float(NextToken().losses(decoder, batch)["truth"]) * batch_weight
        weight += batch_weight
    return total / weight
