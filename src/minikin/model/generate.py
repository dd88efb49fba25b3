"""Writing token by token: batches of prompts of different length, with a cache.

Prompts are padded on the left, so that all rows end at one column; padding belongs to no document.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from minikin.base.shapes import Documents, Logits, Positions, Tokens
from minikin.model.cache import Cache
from minikin.model.decoder import Decoder
from minikin.model.repeats import Adjust, untouched, with_token

Choose = Callable[[Logits], Tensor]  # [batch, vocab] → [batch]


@dataclass(frozen=True, kw_only=True)
class Padded:
    """Prompts as one rectangle, padded on the left."""

    tokens: Tokens
    positions: Positions
    documents: Documents

    @property
    def seen(self) -> Tokens:
        """The tokens, and −1 instead of padding."""
        return torch.where(self.documents < 0, -1, self.tokens)


def padded(prompts: Sequence[Sequence[int]], pad_id: int, device: torch.device) -> Padded:
    """Prompts side by side on a device; padding has document −1."""
    width = max(map(len, prompts))
    tokens = torch.full((len(prompts), width), pad_id)
    positions = torch.zeros(len(prompts), width, dtype=torch.int64)
    documents = torch.full((len(prompts), width), -1)
    for row, prompt in enumerate(prompts):
        start = width - len(prompt)
        tokens[row, start:] = torch.tensor(prompt)
        positions[row, start:] = torch.arange(len(prompt))
        documents[row, start:] = 0
    # filled on the CPU and moved whole: row by row would be a transfer each
    return Padded(tokens=tokens.to(device), positions=positions.to(device), documents=documents.to(device))


def last(x: Tensor) -> Tensor:
    """Picks the last column, where all rows end."""
    return x[:, -1]


def greedy(logits: Logits) -> Tensor:
    """The likeliest token of every row."""
    return logits.argmax(-1)


@torch.inference_mode()
def generate(
    decoder: Decoder,
    prompts: Sequence[Sequence[int]],
    max_tokens: int,
    choose: Choose = greedy,
    adjust: Adjust = untouched,
) -> list[list[int]]:
    """What follows each prompt, up to `max_tokens` or an end token, which is left out."""
    answers: list[list[int]] = [[] for _ in prompts]
    for column in stream(decoder, prompts, max_tokens, choose, adjust):
        for row, token in column:
            answers[row].append(token)
    return answers


@torch.inference_mode()
def stream(
    decoder: Decoder, prompts: Sequence[Sequence[int]], max_tokens: int, choose: Choose, adjust: Adjust = untouched
) -> Iterator[list[tuple[int, int]]]:
    """One step at a time: (row, token) of every row that still speaks. Finished rows leave the batch."""
    device = decoder.device
    start = padded(prompts, decoder.config.pad_token_id, device)
    cache = Cache.empty(decoder.config, len(prompts), device)
    hidden = decoder(start.tokens, start.positions, start.documents, cache, last)
    rows, positions, seen = torch.arange(len(prompts), device=device), start.positions[:, -1:] + 1, start.seen
    ends = torch.tensor(decoder.config.eos_token_ids, device=device)
    for said in range(1, max_tokens + 1):
        chosen = choose(adjust(decoder.logits(hidden), seen))
        speaking = (~torch.isin(chosen, ends)).nonzero()[:, 0]
        if len(speaking) == 0:
            return
        yield list(zip(rows[speaking].tolist(), chosen[speaking].tolist(), strict=True))
        if said == max_tokens:
            return
        if len(speaking) < len(rows):
            cache, rows, positions = cache.reordered(speaking), rows[speaking], positions[speaking]
        seen = with_token(seen[speaking], chosen[speaking])
        tokens = seen[:, -1:]
        hidden = decoder(tokens, positions, torch.zeros_like(tokens), cache, last)
        positions = positions + 1


@dataclass(frozen=True, kw_only=True)
class Read:
    """Prompts that have been read: what is remembered, their last hidden states [prompts, hidden], and lengths."""

    cache: Cache
    hidden: Tensor
    lengths: Tensor


@torch.inference_mode()
def read(decoder: Decoder, prompts: Sequence[Sequence[int]]) -> Read:
    """Read prompts side by side."""
    start = padded(prompts, decoder.config.pad_token_id, decoder.device)
    cache = Cache.empty(decoder.config, len(prompts), decoder.device)
    hidden = decoder(start.tokens, start.positions, start.documents, cache, last)
    return Read(cache=cache, hidden=hidden, lengths=start.positions[:, -1] + 1)


@torch.inference_mode()
def log_probabilities_after(
    decoder: Decoder, heard: Read, owners: Sequence[int], replies: Sequence[Sequence[int]]
) -> tuple[Tensor, Tensor]:
    """Sum of log p of each reply after the prompt that `owners` says, and how many tokens it has."""
    device, width = decoder.device, max(map(len, replies))
    rows = torch.tensor(owners, device=device)
    cache, first = heard.cache.reordered(rows), heard.hidden[rows][:, None]
    lengths = torch.tensor([len(reply) for reply in replies], device=device)
    filled = [[*reply, *[decoder.config.pad_token_id] * (width - len(reply))] for reply in replies]
    tokens, places = torch.tensor(filled, device=device), torch.arange(width, device=device)
    inside = places < lengths[:, None]
    positions = heard.lengths[rows][:, None] + places
    # padding on the right is later than everything that counts: no reply sees it
    hidden = decoder(tokens, positions, torch.zeros_like(tokens), cache)[:, :-1]
    scores = torch.log_softmax(decoder.logits(torch.cat((first, hidden), 1)).float(), -1)
    return (scores.gather(-1, tokens[..., None])[..., 0] * inside).sum(-1), lengths


def reply_log_probabilities(
    decoder: Decoder, prompt: Sequence[int], replies: Sequence[Sequence[int]]
) -> tuple[Tensor, Tensor]:
    """Sum of log p of each reply after one prompt, and how many tokens it has; the prompt is computed once."""
    return log_probabilities_after(decoder, read(decoder, [prompt]), [0] * len(replies), replies)
