"""Beam search finds what it says it finds: against all sequences, against Transformers, against itself."""

from dataclasses import replace
from itertools import product

import pytest
import torch
from fakes import SHAPES, TINY, decoder_of
from transformers import AutoModelForCausalLM

from minikin.base.device import CPU
from minikin.model.beam import beam_search
from minikin.model.cache import Cache
from minikin.model.checkpoint import save
from minikin.model.decoding import Decoding, decode
from minikin.model.generate import generate, last
from minikin.model.repeats import repeats_adjusted

PENALTIES = [-1.0, 0.0, 0.6, 1.0, 2.0]
PROMPTS = [[2, 9, 10, 11], [2, 50], [2, *range(20, 40)], [2, 7, 7, 7, 7]]
SMALL = replace(TINY, vocab_size=8)


@torch.no_grad()
def log_p(decoder, prompt, replies):
    """Σ log p of what may follow a prompt, each computed as a whole and without a cache."""
    width = len(prompt) + max(map(len, replies))
    tokens = torch.tensor([[*prompt, *reply, *[0] * (width - len(prompt) - len(reply))] for reply in replies])
    hidden = decoder(tokens, torch.arange(width).expand_as(tokens), torch.zeros_like(tokens))
    scores = torch.log_softmax(decoder.logits(hidden), -1)[:, len(prompt) - 1 : -1]
    found = scores.gather(-1, tokens[:, len(prompt) :, None])[..., 0]
    said = torch.arange(found.shape[1]) < torch.tensor([len(reply) for reply in replies])[:, None]
    return (found * said).sum(1)


def every_sequence(config, longest):
    """All that can be said: with an end in the last place, or as long as may be."""
    plain = [token for token in range(config.vocab_size) if token not in config.eos_token_ids]
    for length in range(1, longest + 1):
        for before in product(plain, repeat=length - 1):
            for token in config.eos_token_ids if length < longest else range(config.vocab_size):
                yield [*before, token]


def best_of(decoder, replies, scores):
    """The reply with the best score, without its end."""
    first, second = scores.topk(2).values
    assert first - second > 1e-5, "a tie tells nothing"
    return [token for token in replies[int(scores.argmax())] if token not in decoder.config.eos_token_ids]


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_with_enough_beams_the_best_of_all_sequences_is_found(seed):
    decoder, prompts = decoder_of(SMALL, seed), ([2, 3], [2, 6, 7])
    replies = list(every_sequence(SMALL, 3))
    lengths = torch.tensor([len(reply) for reply in replies])
    totals = [log_p(decoder, prompt, replies) for prompt in prompts]
    for penalty in PENALTIES:
        expected = [best_of(decoder, replies, total / lengths**penalty) for total in totals]
        assert beam_search(decoder, prompts, 3, 40, penalty) == expected


def test_penalties_choose_lengths():
    decoder = decoder_of(SMALL, 2)
    lengths = [len(beam_search(decoder, [[2, 3]], 3, 40, penalty)[0]) for penalty in (-4.0, 0.0, 4.0)]
    assert lengths == sorted(lengths)
    assert lengths[0] < lengths[-1]


@pytest.mark.parametrize("penalty", [-1.0, 0.0])
@pytest.mark.parametrize("seed", range(4))
def test_one_beam_is_greedy_where_going_on_cannot_pay(penalty, seed):
    decoder = decoder_of(seed=seed)
    assert beam_search(decoder, PROMPTS, 15, 1, penalty) == generate(decoder, PROMPTS, 15)


def test_one_beam_in_settings_is_greedy():
    decoder, chance = decoder_of(SMALL), torch.Generator().manual_seed(1)
    assert decode(decoder, [[2, 3]], Decoding(max_new_tokens=9), chance) == generate(decoder, [[2, 3]], 9)


@pytest.mark.parametrize("penalty", PENALTIES)
@pytest.mark.parametrize("config", [TINY, SMALL], ids=["long", "short"])
def test_prompts_are_searched_together_as_each_alone(penalty, config):
    decoder = decoder_of(config)
    prompts = [[token % config.vocab_size for token in prompt] for prompt in PROMPTS]
    together = beam_search(decoder, prompts, 12, 4, penalty)
    assert together == [beam_search(decoder, [prompt], 12, 4, penalty)[0] for prompt in prompts]
    assert together == beam_search(decoder, prompts, 12, 4, penalty)


@pytest.mark.parametrize("config", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("penalty", [0.0, 1.0])
def test_answers_are_those_of_transformers(config, penalty, tmp_path):
    decoder = decoder_of(config)
    save(decoder, tmp_path)
    model = AutoModelForCausalLM.from_pretrained(tmp_path)
    for prompt in PROMPTS[:3]:
        assert beam_search(decoder, [prompt], 12, 4, penalty) == [theirs(model, config, prompt, penalty)]


@pytest.mark.parametrize("penalty", [-1.0, 0.0, 0.6, 1.0, 3.0])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_answers_that_end_are_those_of_transformers(penalty, seed, tmp_path):
    decoder = decoder_of(SMALL, seed)
    save(decoder, tmp_path)
    model = AutoModelForCausalLM.from_pretrained(tmp_path)
    for prompt in ([2, 3], [2, 6, 7], [2, 4, 3, 7]):
        for beams in (2, 3, 5):
            expected = theirs(model, SMALL, prompt, penalty, num_beams=beams)
            assert beam_search(decoder, [prompt], 12, beams, penalty) == [expected]


@pytest.mark.parametrize(("repetition", "ngram"), [(1.3, 0), (1.0, 2), (1.0, 3), (1.2, 3)])
def test_repetition_control_is_that_of_transformers(repetition, ngram, tmp_path):
    decoder = decoder_of(SMALL, 2)
    save(decoder, tmp_path)
    model = AutoModelForCausalLM.from_pretrained(tmp_path)
    prompts, settings = [[2, 3], [2, 6, 7, 6]], {"repetition_penalty": repetition, "no_repeat_ngram_size": ngram}
    adjust = repeats_adjusted(repetition, ngram)
    for beams in (1, 3):
        expected = [theirs(model, SMALL, prompt, 1.0, num_beams=beams, **settings) for prompt in prompts]
        ours = beam_search(decoder, prompts, 12, 3, 1.0, adjust) if beams > 1 else None
        assert (ours or generate(decoder, prompts, 12, adjust=adjust)) == expected


def theirs(model, config, prompt, penalty, num_beams=4, **settings):
    """What Transformers answers; with early_stopping="never" its search ends where nothing better can come."""
    if num_beams > 1:
        settings |= {"length_penalty": penalty, "early_stopping": "never"}
    said = model.generate(
        torch.tensor([prompt]),
        attention_mask=torch.ones(1, len(prompt), dtype=torch.int64),
        max_new_tokens=12,
        num_beams=num_beams,
        do_sample=False,
        pad_token_id=0,
        **settings,
    )[0, len(prompt) :].tolist()
    return said[: next((at for at, token in enumerate(said) if token in config.eos_token_ids), len(said))]


@torch.no_grad()
def test_a_cache_that_is_rearranged_is_one_that_is_reordered():
    decoder = decoder_of()
    tokens = torch.tensor([[2, 9, 10]] * 2 + [[2, 11, 12]] * 2)
    positions, owners = torch.arange(3).expand(4, -1), torch.zeros_like(tokens)
    said, rows = torch.tensor([[20], [21], [22], [23]]), torch.tensor([1, 0, 3, 3])

    def after(change):
        cache = Cache.empty(TINY, 4, CPU)
        decoder(tokens, positions, owners, cache, last)
        decoder(said, positions[:, -1:] + 1, owners[:, :1], cache, last)
        return decoder(said, positions[:, -1:] + 2, owners[:, :1], change(cache), last)

    def rearranged(cache):
        cache.rearrange(rows, 3)
        return cache

    assert torch.equal(after(rearranged), after(lambda cache: cache.reordered(rows)))
    assert not torch.equal(after(rearranged), after(lambda cache: cache))
