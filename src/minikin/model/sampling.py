"""Sampling: which tokens may be drawn, and drawing one. Each filter puts −∞ where a token may not be drawn.

A filter always leaves the likeliest token. Names, meanings and order are those of Transformers.
"""

import torch
from torch import Tensor

from minikin.base.shapes import Logits
from minikin.model.generate import Choose

_NEVER = float("-inf")
_COLDEST = torch.finfo(torch.float32).tiny  # a smaller temperature would be 0 there


def sampler(
    generator: torch.Generator, *, temperature: float = 1.0, top_k: int = 0, top_p: float = 1.0, min_p: float = 0.0
) -> Choose:
    """Draws a token of every row; `temperature` is above 0."""

    def choose(logits: Logits) -> Tensor:
        shares = distribution(logits, temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p)
        return drawn(shares, generator)

    return choose


def drawn(shares: Tensor, generator: torch.Generator) -> Tensor:
    """A token of every row by its shares, [rows, vocab] → [rows]: where the sum of shares passes a uniform number.

    It is drawn where the generator is, on the CPU: a seed then gives the same tokens whatever the shares were made on.
    """
    sums = shares.to(generator.device).double().cumsum(-1)
    if not sums[:, -1].isfinite().all():
        raise ValueError("the shares that a token is to be drawn by are no numbers")
    # at most 1 − 2⁻⁵³ of the whole sum, so what is found is never beyond the last
    passed = sums[:, -1:] * torch.rand(len(sums), 1, generator=generator, dtype=torch.float64)
    return torch.searchsorted(sums, passed, right=True)[:, 0].to(shares.device)


def distribution(logits: Logits, *, temperature: float, top_k: int, top_p: float, min_p: float) -> Tensor:
    """What a token is drawn from, [rows, vocab]: a softmax of what all filters leave."""
    logits = logits.float()
    # the largest becomes 0 first: however small a temperature, nothing but the others can overflow
    logits = (logits - logits.amax(-1, keepdim=True)) / max(temperature, _COLDEST)
    if top_k:
        logits = top_k_only(logits, top_k)
    if top_p < 1:
        logits = top_p_only(logits, top_p)
    if min_p:
        logits = min_p_only(logits, min_p)
    return torch.softmax(logits, -1)


def top_k_only(logits: Logits, top_k: int) -> Logits:
    """The `top_k` likeliest tokens, and those as likely as the last of them (Fan et al. 2018)."""
    least = logits.topk(min(top_k, logits.shape[-1]), -1).values[..., -1:]
    return logits.masked_fill(logits < least, _NEVER)


def top_p_only(logits: Logits, top_p: float) -> Logits:
    """The smallest set of tokens that holds `top_p` of the mass (Holtzman et al. 2020)."""
    ordered, ids = torch.softmax(logits, -1).sort(-1, descending=True)
    # a token stays if the mass before it has not reached top_p yet, so one always stays
    left_out = ordered.cumsum(-1) - ordered >= top_p
    left_out[..., 0] = False  # however small top_p is
    return logits.masked_fill(torch.zeros_like(left_out).scatter(-1, ids, left_out), _NEVER)


def min_p_only(logits: Logits, min_p: float) -> Logits:
    """Tokens that are at least `min_p` times as likely as the likeliest (Nguyen et al. 2024)."""
    shares = torch.softmax(logits, -1)
    return logits.masked_fill(shares < min_p * shares.amax(-1, keepdim=True), _NEVER)
