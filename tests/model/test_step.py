"""One token of many conversations at once gives what each gives alone, in whatever slots they are."""

from dataclasses import replace

import pytest
import torch
from fakes import SHAPES, TINY, decoder_of

from minikin.model.cache import Cache
from minikin.model.checkpoint import load, save_initial
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


def seated(decoder, slots, told):
    """Conversations of these seeds and lengths, each in a slot."""
    alone = [Alone(decoder, seed, length) for seed, length in told]
    for each in alone:
        slots.take(each.cache)
    return alone


def say_all(step, slots, alone, count):
    """So many more tokens of everybody, some of them beyond the last row of a small table."""
    for number in range(count):
        tokens = tokens_of(number, len(alone))
        found = step(tokens, slots)
        for each, token, logits in zip(alone, tokens, found, strict=True):
            torch.testing.assert_close(logits, each.said(token[None]), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ALL)
def test_every_slot_says_what_it_would_say_alone(name):
    config = ALL[name]
    decoder, slots = decoder_with(config, name), Slots(config, 4)
    alone = seated(decoder, slots, ((1, 7), (2, 1), (3, 20)))
    say_all(Step(decoder), slots, alone, 30)
    assert slots.lengths == [each.length for each in alone]


def test_who_leaves_makes_room_and_disturbs_nobody():
    decoder, slots = decoder_of(), Slots(TINY, 3)
    alone = seated(decoder, slots, ((1, 9), (2, 4), (3, 12)))
    step = Step(decoder)
    for leaving in (0, 1, 0):
        say_all(step, slots, alone, 3)
        moved = slots.leave(leaving)
        alone[leaving] = alone[moved]
        alone.pop()
    assert slots.taken == 0
    assert not any(stored.any() for stored in slots.stored.values())


def test_who_comes_later_takes_the_place_of_who_has_left():
    decoder, slots = decoder_of(), Slots(TINY, 3)
    alone = seated(decoder, slots, ((1, 30), (2, 25), (3, 20)))
    step = Step(decoder)
    say_all(step, slots, alone, 5)
    alone[0] = alone.pop(slots.leave(0))
    alone.append(Alone(decoder, 4, 2))
    slots.take(alone[-1].cache)
    say_all(step, slots, alone, 20)


@pytest.mark.parametrize("name", ["full", "sliding", "shared keys"])
def test_long_conversations_have_room_made_for_them(name):
    config = replace(SHAPES[name], max_position_embeddings=256)
    decoder, slots = decoder_of(config), Slots(config, 2)
    alone = seated(decoder, slots, ((1, 60), (2, 3)))
    assert slots.room < 70
    say_all(Step(decoder), slots, alone, 60)
    assert slots.room >= 120


@pytest.mark.parametrize("name", ["full", "shared keys"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_weights_in_their_file_are_widened(name, dtype, tmp_path, monkeypatch):
    monkeypatch.setattr("minikin.model.checkpoint._SMALL_TABLE", 0)
    config = replace(SHAPES[name], vocab_size_per_layer_input=250)
    save_initial(config, tmp_path, dtype, 1, lambda _: None)
    decoder, slots = load(tmp_path), Slots(config, 2)
    assert decoder.tables.file is not None
    alone = seated(decoder, slots, ((1, 9), (2, 4)))
    say_all(Step(decoder), slots, alone, 20)
