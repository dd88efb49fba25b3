"""Telling the true reply of a conversation from all others in the batch, beside the next token.

Each conversation's own reply should be the likeliest among the batch's (in-batch negatives: Henderson et al. 2017,
§4.4). Replies are read after nothing, so they cost another look at their own words; conversations cost nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from minikin.base.device import CPU
from minikin.base.shapes import Hidden
from minikin.model.decoder import Decoder
from minikin.model.embed import LONGEST_REPLY, Replies, embedded, likeness, replies
from minikin.text.batches import Batch

_LEAST = 2  # different replies, to be told apart


@dataclass(frozen=True, kw_only=True)
class Replying:
    """That replies are told apart: the tokens that open each when it is read alone, and what the loss counts."""

    opening: tuple[int, ...]
    weight: float


@dataclass(frozen=True, kw_only=True)
class Exchange:
    """The conversations and replies of a batch.

    `places` are where in batch · time each conversation ends; `same` [replies, replies] is True where two say the
    same, which cannot be told apart.
    """

    places: Tensor
    said: Replies
    same: Tensor


def exchange(batch: Batch, opening: Sequence[int]) -> Exchange | None:
    """All replies of a batch that are to be told apart; None if there are fewer than two different ones."""
    device, batch = batch.tokens.device, batch.to(CPU)  # read word by word, so once as a whole
    edges = torch.diff(functional.pad(batch.replies.int(), (1, 1)))
    begins, ends = (edges == 1).nonzero(), (edges == -1).nonzero()[:, 1]
    # what begins a document is no reply: the document was cut within it
    answering = batch.positions[begins[:, 0], begins[:, 1]] > 0
    begins, ends = begins[answering], ends[answering]
    found = zip(begins.tolist(), ends.tolist(), strict=True)
    said = [tuple(batch.targets[row, begin : min(end, begin + LONGEST_REPLY)].tolist()) for (row, begin), end in found]
    numbers = {reply: number for number, reply in enumerate(dict.fromkeys(said))}
    if len(numbers) < _LEAST:
        return None
    which = torch.tensor([numbers[reply] for reply in said])
    places = begins[:, 0] * batch.tokens.shape[1] + begins[:, 1]
    same = which[:, None] == which
    return Exchange(places=places.to(device), said=replies(opening, said).to(device), same=same.to(device))


def scores(decoder: Decoder, found: Exchange, conversations: Hidden) -> Tensor:
    """How like every reply is to every conversation; what says the same as the true reply is out of the choice."""
    alike = found.same & ~torch.eye(len(found.same), dtype=torch.bool, device=found.same.device)
    return likeness(conversations, embedded(decoder, found.said)).masked_fill(alike, float("-inf"))


def mistaken(found: Tensor) -> Tensor:
    """Mean of −log p(own reply), in nats."""
    return functional.cross_entropy(found, torch.arange(len(found), device=found.device))


def disagreement(found: Tensor, teacher: Tensor) -> Tensor:
    """Mean KL(teacher ‖ student) over the choice among replies, in nats."""
    log_student, log_teacher = found.log_softmax(-1), teacher.log_softmax(-1)
    difference = torch.where(log_teacher.isfinite(), log_teacher - log_student, 0.0)
    return (log_teacher.exp() * difference).sum(-1).mean()
