"""Conversations and replies as vectors, so that a true reply lies near its conversation.

A conversation is the last hidden state where its reply begins, a reply the mean of the hidden states over its words,
said after nothing; likeness is their cosine (Henderson et al. 2020, "ConveRT"; one decoder for both, as Muennighoff
et al. 2024, "GRIT").
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from minikin.base.shapes import Documents, Hidden, Positions, Tokens
from minikin.model.decoder import Decoder
from minikin.model.generate import last, padded

SHARPNESS = 20.0  # one over the temperature of a softmax over cosines


@dataclass(frozen=True, kw_only=True)
class Replies:
    """Replies side by side, each after `opening` tokens that all share; padding on the right has document −1."""

    tokens: Tokens
    positions: Positions
    documents: Documents
    inside: Tensor  # bool [replies, time]: words of the reply


def replies(opening: Sequence[int], said: Sequence[Sequence[int]]) -> Replies:
    """Replies as one rectangle."""
    lengths = torch.tensor([len(opening) + len(reply) for reply in said])
    tokens = torch.zeros(len(said), int(lengths.max()), dtype=torch.int64)
    for row, reply in enumerate(said):
        tokens[row, : lengths[row]] = torch.tensor([*opening, *reply])
    place = torch.arange(tokens.shape[1])
    within = place < lengths[:, None]
    return Replies(
        tokens=tokens,
        positions=place.expand_as(tokens),
        documents=torch.where(within, 0, -1),
        inside=within & (place >= len(opening)),
    )


def embedded(decoder: Decoder, said: Replies) -> Tensor:
    """[replies, hidden]"""
    hidden = decoder(said.tokens, said.positions, said.documents).float()
    return (hidden * said.inside[..., None]).sum(1) / said.inside.sum(1, keepdim=True)


def likeness(conversations: Hidden, replied: Hidden) -> Tensor:
    """Scores of every reply for every conversation, [conversations, replies]: cosines, made sharp for a softmax."""
    one, other = (functional.normalize(vectors.float(), dim=-1) for vectors in (conversations, replied))
    return SHARPNESS * one @ other.T


@torch.inference_mode()
def reply_likeness(
    decoder: Decoder, prompts: Sequence[Sequence[int]], opening: Sequence[int], said: Sequence[Sequence[int]]
) -> Tensor:
    """How like each of all replies is to each conversation, [prompts, replies]."""
    start = padded(prompts, decoder.config.pad_token_id)
    conversations = decoder(start.tokens, start.positions, start.documents, None, last)
    return likeness(conversations, embedded(decoder, replies(opening, said)))
