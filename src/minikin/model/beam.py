"""Beam search: the likeliest answer among several that are written side by side, batched over prompts.

The search is that of Transformers with `early_stopping="never"`. A score is Σ log p / length^length_penalty, the end
token counted (Wu et al. 2016, eq. 14, with |Y|^α for their lp and no coverage); a beam that ends frees its place.
"""

from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor

from minikin.base.shapes import Tokens
from minikin.model.cache import Cache
from minikin.model.decoder import Decoder
from minikin.model.generate import last, padded
from minikin.model.repeats import Adjust, untouched, with_token

_NEVER = float("-inf")


@torch.inference_mode()
def beam_search(
    decoder: Decoder,
    prompts: Sequence[Sequence[int]],
    max_tokens: int,
    beams: int,
    length_penalty: float = 1.0,
    adjust: Adjust = untouched,
) -> list[list[int]]:
    """The best answer found for each prompt, up to `max_tokens` or an end token, which counts and is left out.

    An answer that runs into `max_tokens` competes with those that ended. `adjust` changes log p (not renormalised).
    One beam is greedy decoding if `length_penalty` ≤ 0; above, it may go on where the likeliest token is an end.
    """
    device = decoder.device
    start = padded(prompts, decoder.config.pad_token_id, device)
    cache = Cache.empty(decoder.config, len(prompts), device)
    hidden = decoder(start.tokens, start.positions, start.documents, cache, last)
    rows, read = torch.arange(len(prompts), device=device).repeat_interleave(beams), start.tokens.shape[1]
    search = _Search(decoder, start.seen[rows], beams, max_tokens, length_penalty)
    cache, hidden, positions = cache.reordered(rows), hidden[rows], start.positions[rows, -1:] + 1
    while True:
        log_p = torch.log_softmax(decoder.logits(hidden).float(), -1)
        rows = search.advance(adjust(log_p, search.seen))
        if len(rows) == 0:
            return search.answers
        # what a beam goes on with is of its own prompt, so as long as no prompt leaves, what was read stays in place
        if len(rows) == len(hidden):
            cache.rearrange(rows, read)
        else:
            cache = cache.reordered(rows)
        positions = positions[rows]
        tokens = search.seen[:, -1:]
        hidden = decoder(tokens, positions, torch.zeros_like(tokens), cache, last)
        positions = positions + 1


@final
class _Search:
    """The running beams of all prompts that are still searched, and the best answer of every prompt so far.

    Only the best is kept, not `beams` of them: it is what is returned, and no other has a part in the search.
    """

    def __init__(self, decoder: Decoder, seen: Tokens, beams: int, max_tokens: int, length_penalty: float) -> None:
        count, device = len(seen) // beams, seen.device
        self.answers: list[list[int]] = [[] for _ in range(count)]
        self.seen = seen  # [prompts × beams, time], padding −1: what was read and said
        self._ends = torch.zeros(decoder.config.vocab_size, dtype=torch.bool, device=device)
        self._end_ids = decoder.config.eos_token_ids
        self._ends[list(self._end_ids)] = True
        # of each beam all ends may be among the candidates; enough others are left to go on with
        self._candidates = beams * (1 + len(self._end_ids))
        self._beams, self._length_penalty = beams, length_penalty
        self._read, self._longest = seen.shape[1], seen.shape[1] + max_tokens
        self._prompts = torch.arange(count, device=device)
        self._best = torch.full((count,), _NEVER, device=device)
        # all beams begin alike: one of them is enough, the others would say the same
        self._totals = torch.tensor([0.0, *[_NEVER] * (beams - 1)], device=device).repeat(count)

    def advance(self, log_p: Tensor) -> Tensor:
        """Say one more token, [prompts × beams, vocab] → the rows that were gone on with; `seen` has their tokens."""
        vocab = log_p.shape[1]
        totals = (self._totals[:, None] + log_p).view(len(self._prompts), -1)
        found, places = totals.topk(min(self._candidates, totals.shape[1]))
        parents = places // vocab + torch.arange(0, len(self.seen), self._beams, device=places.device)[:, None]
        tokens = places % vocab
        ended = self._ends[tokens]
        self._keep(found, parents, tokens, ended)
        running, order = found.masked_fill(ended, _NEVER).topk(self._beams)
        promising = self._bound(running[:, 0]) > self._best
        rows = parents.gather(1, order)[promising].flatten()
        self.seen = with_token(self.seen[rows], tokens.gather(1, order)[promising].flatten())
        self._totals = running[promising].flatten()
        self._prompts, self._best = self._prompts[promising], self._best[promising]
        return rows

    def _keep(self, found: Tensor, parents: Tensor, tokens: Tensor, ended: Tensor) -> None:
        """Keep what is complete now and better than before; it must be among the first `beams` candidates."""
        first = slice(None, self._beams)
        complete = ended | (self.seen.shape[1] + 1 == self._longest)
        scores = found.masked_fill(~complete, _NEVER)[:, first] / self._divisor(self.seen.shape[1] + 1)
        score, at = scores.max(1)
        better = (score > self._best).nonzero()[:, 0]
        self._best = torch.maximum(score, self._best)
        at = at[better]
        said = self.seen[parents[better, at], self._read :].tolist()
        told = zip(self._prompts[better].tolist(), said, tokens[better, at].tolist(), strict=True)
        for prompt, before, token in told:
            self.answers[prompt] = before if token in self._end_ids else [*before, token]

    def _bound(self, total: Tensor) -> Tensor:
        """The best score that a running beam can reach: every further token costs, and what it has is divided.

        A total is at most 0, so the largest divisor there may be makes the most of it.
        """
        now = self.seen.shape[1] + 1
        if now == self._longest:
            return torch.full_like(total, _NEVER)
        return total / max(self._divisor(now + 1), self._divisor(self._longest))

    def _divisor(self, time: int) -> float:
        return float(time - self._read) ** self._length_penalty
