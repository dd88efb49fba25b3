"""Conversations and replies as vectors, so that a true reply lies near its conversation.

A conversation is the last hidden state where its reply begins, a reply the mean of the hidden states over its words,
said after nothing; likeness is their cosine (Henderson et al. 2020, "ConveRT"; one decoder for both, as Muennighoff
et al. 2024, "GRIT").
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional

from minikin.base.shapes import Documents, Hidden, Positions, Tokens
from minikin.model.decoder import Decoder

SHARPNESS = 20.0  # one over the temperature of a softmax over cosines
LONGEST_REPLY = 48  # tokens of a reply that are read
REPLY_ROW = 128  # tokens of a row of replies


@dataclass(frozen=True, kw_only=True)
class Replies:
    """Replies in rows, side by side, each after `opening` tokens that all share; what is left of a row is padding.

    `documents` [rows, time] numbers the replies, −1 for padding; `inside` is True for the words of a reply.
    """

    count: int
    tokens: Tokens
    positions: Positions
    documents: Documents
    inside: Tensor

    def to(self, device: torch.device) -> "Replies":
        """The same on a device; replies are put into rows on the CPU."""
        moved = {name: getattr(self, name).to(device) for name in ("tokens", "positions", "documents", "inside")}
        return replace(self, **moved)


def replies(opening: Sequence[int], said: Sequence[Sequence[int]]) -> Replies:
    """Replies in as many rows as they need."""
    rows, at = 0, 0
    places: list[tuple[int, int]] = []
    for reply in said:
        if at + len(opening) + len(reply) > REPLY_ROW:
            rows, at = rows + 1, 0
        places.append((rows, at))
        at += len(opening) + len(reply)
    shape = (rows + 1, REPLY_ROW)
    tokens, positions = torch.zeros(shape, dtype=torch.int64), torch.zeros(shape, dtype=torch.int64)
    documents, inside = torch.full(shape, -1), torch.zeros(shape, dtype=torch.bool)
    for number, (reply, (row, begin)) in enumerate(zip(said, places, strict=True)):
        here = slice(begin, begin + len(opening) + len(reply))
        tokens[row, here] = torch.tensor([*opening, *reply])
        positions[row, here] = torch.arange(here.stop - here.start)
        documents[row, here] = number
        inside[row, begin + len(opening) : here.stop] = True
    return Replies(count=len(said), tokens=tokens, positions=positions, documents=documents, inside=inside)


def embedded(decoder: Decoder, said: Replies) -> Tensor:
    """[replies, hidden]"""
    hidden = decoder(said.tokens, said.positions, said.documents).float()
    owners, words = said.documents[said.inside], hidden[said.inside]
    sums = words.new_zeros(said.count, words.shape[-1]).index_add(0, owners, words)
    return sums / torch.bincount(owners, minlength=said.count)[:, None]


def likeness(conversations: Hidden, replied: Hidden) -> Tensor:
    """Scores of every reply for every conversation, [conversations, replies]: cosines, made sharp for a softmax."""
    one, other = (functional.normalize(vectors.float(), dim=-1) for vectors in (conversations, replied))
    with torch.autocast(one.device.type, enabled=False):
        return SHARPNESS * one @ other.T
