"""Prompts that are read together, or in pieces, give what each gives when it is read alone and at once."""

import pytest
import torch
from fakes import SHAPES, decoder_of

from minikin.engine import prompts
from minikin.engine.prompts import Prompts
from minikin.model.slots import Slots
from minikin.model.step import Step


def tokens_of(seed, length):
    return torch.randint(6, 300, (length,), generator=torch.Generator().manual_seed(seed)).tolist()


@torch.inference_mode()
def alone(decoder, tokens):
    positions = torch.arange(len(tokens))[None]
    return decoder.logits(decoder(torch.tensor(tokens)[None], positions, torch.zeros_like(positions)))[0, -1]


@torch.inference_mode()
def read(reading):
    pieces = 1
    while (scores := reading.read_on()) is None:
        pieces += 1
    return pieces, scores


@pytest.mark.parametrize(("lengths", "pieces"), [((7, 1, 20), 1), ((3,), 1), ((60,), 3), ((28,), 1)])
@pytest.mark.parametrize("name", SHAPES)
def test_prompts_are_read_as_each_alone(name, lengths, pieces, monkeypatch):
    monkeypatch.setattr(prompts, "PIECE", 28)
    decoder, asked = decoder_of(SHAPES[name]), [tokens_of(seed, length) for seed, length in enumerate(lengths)]
    reading, slots = Prompts(decoder, asked), Slots(decoder.config, 4)
    needed, scores = read(reading)
    assert needed == pieces
    for prompt, found in zip(asked, scores, strict=True):
        torch.testing.assert_close(found, alone(decoder, prompt), rtol=1e-4, atol=1e-4)
    reading.take(slots)
    assert slots.lengths == list(lengths)
    more = [tokens_of(9, 1)[0] for _ in asked]
    for prompt, token, found in zip(asked, more, Step(decoder)(torch.tensor(more), slots), strict=True):
        torch.testing.assert_close(found, alone(decoder, [*prompt, token]), rtol=1e-4, atol=1e-4)
