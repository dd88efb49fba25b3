"""One token of many conversations at once gives what each gives alone, in whatever slots they are."""

from dataclasses import replace

import pytest
import torch
from fakes import SHAPES, TINY, decoder_of

from minikin.model.cache import Cache
from minikin.model.generate import last
from minikin.model.slots import Slots
from minikin.model.step import Step

ALL = SHAPES | {"long window": replace(TINY, sliding_window=40), "scaled": TINY}


def tokens_of(seed, count, config=TINY):
    return torch.randint(6, config.vocab_size, (count,), generator=torch.Generator().manual_seed(seed))


class Alone:
    """A conversation with a cache of its own, and what it would say."""

    def __init__(self, decoder, seed, length):
        self.decoder, self.cache, self.length = decoder, Cache.empty(decoder.config, 1, decoder.device), 0
        self.logits = self.said(tokens_of(seed, length))

    @torch.inference_mode()
    def said(self, tokens):
        positions = torch.arange(self.length, self.length + len(tokens))[None]
        self.length += len(tokens)
        hidden = self.decoder(tokens[None], positions, torch.zeros_like(positions), self.cache, last)
        return self.decoder.logits(hidden)[0]


def decoder_with(config, name):
    decoder = decoder_of(config)
    if name == "scaled":
        for number, layer in enumerate(decoder.layers):
            layer.layer_scalar.fill_(0.5 + number)
    return decoder


@pytest.mark.parametrize("name", ALL)
def test_every_slot_says_what_it_would_say_alone(name):
    config = ALL[name]
    decoder, slots = decoder_with(config, name), Slots(config, 4)
    alone = [Alone(decoder, seed, length) for seed, length in ((1, 7), (2, 1), (3, 20))]
    for each in alone:
        slots.take(each.cache)
    step = Step(decoder)
    for number in range(30):
        tokens = tokens_of(number, len(alone))
        found = step(tokens, slots)
        for each, token, logits in zip(alone, tokens, found, strict=True):
            torch.testing.assert_close(logits, each.said(token[None]), rtol=1e-4, atol=1e-4)
    assert slots.lengths == [each.length for each in alone]


def test_who_leaves_makes_room_and_disturbs_nobody():
    decoder, slots = decoder_of(), Slots(TINY, 3)
    alone = [Alone(decoder, seed, length) for seed, length in ((1, 9), (2, 4), (3, 12))]
    for each in alone:
        slots.take(each.cache)
    step = Step(decoder)
    for leaving in (0, 1, 0):
        for number in range(3):
            tokens = tokens_of(number, len(alone))
            found = step(tokens, slots)
            for each, token, logits in zip(alone, tokens, found, strict=True):
                torch.testing.assert_close(logits, each.said(token[None]), rtol=1e-4, atol=1e-4)
        moved = slots.leave(leaving)
        alone[leaving] = alone[moved]
        alone.pop()
    assert slots.taken == 0
    fresh = Alone(decoder, 8, 2)
    assert slots.take(fresh.cache) == 0
    token = tokens_of(9, 1)
    torch.testing.assert_close(step(token, slots)[0], fresh.said(token), rtol=1e-4, atol=1e-4)


def test_narrow_weights_are_widened():
    decoder, slots = decoder_of(), Slots(TINY, 1)
    for parameter in decoder.parameters():
        parameter.data = parameter.data.bfloat16()
    alone = Alone(decoder, 1, 5)
    slots.take(alone.cache)
    token = tokens_of(2, 1)
    torch.testing.assert_close(Step(decoder)(token, slots)[0], alone.said(token), rtol=1e-4, atol=1e-4)
