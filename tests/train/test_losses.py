"""Losses by hand are those of PyTorch, and so are their slopes."""

from dataclasses import replace

import pytest
import torch
from fakes import TINY, decoder_of, documents
from torch.nn import functional

from minikin.train.losses import cross_entropy, distillation
from minikin.train.objective import Distill, NextToken
from minikin.train.teacher import Teacher

TOKENS, VOCABULARY = 7, 11


def drawn():
    """Logits to learn and to learn from, targets and weights."""
    logits, wise = 3 * torch.randn(TOKENS, VOCABULARY), 3 * torch.randn(TOKENS, VOCABULARY)
    return logits.requires_grad_(), wise, torch.randint(0, VOCABULARY, (TOKENS,)), torch.rand(TOKENS)


def plain_distillation(logits, wise, targets, weights, share, temperature):
    apart = functional.kl_div(
        (logits / temperature).log_softmax(-1), (wise / temperature).softmax(-1), reduction="none"
    )
    truth = functional.cross_entropy(logits, targets, reduction="none")
    kl = temperature**2 * (apart.sum(-1) * weights).sum()
    return torch.stack(((1 - share) * kl, share * (truth * weights).sum()))


def test_cross_entropy_is_that_of_torch():
    logits, _, targets, weights = drawn()
    theirs = (functional.cross_entropy(logits, targets, reduction="none") * weights).sum()
    ours = cross_entropy(logits.detach(), targets, weights)
    torch.testing.assert_close(ours.parts, theirs.detach()[None])
    torch.testing.assert_close(ours.slope(), torch.autograd.grad(theirs, logits)[0])


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("temperature", [1.0, 2.0, 0.5])
def test_distillation_is_that_of_torch(share, temperature):
    logits, wise, targets, weights = drawn()
    theirs = plain_distillation(logits, wise, targets, weights, share, temperature)
    given, taught = logits.detach().clone(), wise.clone()
    ours = distillation(given, taught, targets, weights, share, temperature)
    torch.testing.assert_close(ours.parts, theirs.detach())
    torch.testing.assert_close(ours.slope(), torch.autograd.grad(theirs.sum(), logits)[0])
    assert torch.equal(given, logits)
    assert torch.equal(taught, wise)


def test_a_soft_cap_is_learned_through():
    decoder, rows = decoder_of(replace(TINY, final_logit_softcapping=0.5)), documents(2, 24)
    hidden = decoder(rows.tokens, rows.positions, rows.documents)
    logits = decoder.logits(hidden).flatten(0, 1)
    weights = rows.weights.flatten()
    theirs = (functional.cross_entropy(logits, rows.targets.flatten(), reduction="none") * weights).sum()
    ours = NextToken().losses(decoder, rows)["truth"]
    parameters = list(decoder.parameters())
    expected = torch.autograd.grad(theirs / weights.sum(), parameters)
    for one, other in zip(torch.autograd.grad(ours, parameters), expected, strict=True):
        torch.testing.assert_close(one, other)


def test_losses_that_are_looked_at_are_those_that_are_learned():
    decoder, rows = decoder_of(), documents(4, 24)
    teacher = Teacher(decoder=decoder_of(seed=7), kept_hidden=tuple(range(TINY.hidden_size)))
    for objective in (NextToken(), Distill(teacher=teacher, truth_share=0.3, temperature=2.0)):
        learned = objective.losses(decoder, rows)
        with torch.no_grad():
            looked_at = objective.losses(decoder, rows)
        assert {name: part.item() for name, part in learned.items()} == pytest.approx(
            {name: part.item() for name, part in looked_at.items()}
        )
