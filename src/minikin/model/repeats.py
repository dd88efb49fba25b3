"""Repetition control: scores of next tokens are changed by what a row has read and said so far.

Both rules look at the prompt and the answer, and at nothing else: padding, which is −1 here, counts as nothing.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from minikin.base.shapes import Logits, Tokens

Adjust = Callable[[Logits, Tokens], Logits]  # scores [rows, vocab], seen [rows, time] → scores [rows, vocab]


def untouched(scores: Logits, seen: Tokens) -> Logits:
    """Scores as they are."""
    return scores


def repeats_adjusted(repetition_penalty: float, no_repeat_ngram_size: int) -> Adjust:
    """Both rules, in the order of Transformers; 1 and 0 turn them off."""
    if repetition_penalty == 1.0 and no_repeat_ngram_size == 0:
        return untouched

    def adjust(scores: Logits, seen: Tokens) -> Logits:
        if repetition_penalty != 1.0:
            scores = penalized(scores, seen, repetition_penalty)
        return without_repeated_ngrams(scores, seen, no_repeat_ngram_size) if no_repeat_ngram_size else scores

    return adjust


def penalized(scores: Logits, seen: Tokens, penalty: float) -> Logits:
    """Scores of seen tokens divided by `penalty`, or multiplied if they are negative; once, however often seen.

    Keskar et al. 2019, "CTRL", §4.1, where all scores are positive; for negative ones as in Transformers.
    """
    # padding stands for the last token, which is always a real one
    seen = torch.where(seen < 0, seen[:, -1:], seen)
    found = scores.gather(1, seen)
    return scores.scatter(1, seen, torch.where(found < 0, found * penalty, found / penalty))


def without_repeated_ngrams(scores: Logits, seen: Tokens, size: int) -> Logits:
    """−∞ for every token that would end a run of `size` tokens that was seen before (Paulus et al. 2018, §2.5)."""
    if seen.shape[1] < size:
        return scores
    windows = seen.unfold(1, size, 1)
    opening = seen[:, seen.shape[1] - size + 1 :]
    repeated = (windows[..., :-1] == opening[:, None]).all(-1) & (windows[..., -1] >= 0)
    rows, places = repeated.nonzero(as_tuple=True)
    never = torch.tensor(float("-inf"), dtype=scores.dtype, device=scores.device)
    return scores.index_put((rows, windows[rows, places, -1]), never)


def with_token(seen: Tokens, token: Tensor) -> Tokens:
    """What was seen, and one more token a row."""
    return torch.cat((seen, token[:, None]), 1)
