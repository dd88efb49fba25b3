"""What may be drawn, and how often: the filters are those of Transformers, and none leaves nothing."""

import pytest
import torch
from fakes import decoder_of
from hypothesis import given
from hypothesis import strategies as st
from transformers.generation import logits_process as processors

from minikin.base.errors import DecodingError
from minikin.model.decoding import Decoding, chooser, decode, decode_batches
from minikin.model.generate import generate, greedy
from minikin.model.repeats import penalized, repeats_adjusted, without_repeated_ngrams
from minikin.model.sampling import distribution, drawn, min_p_only, sampler, top_k_only, top_p_only

OFF = {"temperature": 1.0, "top_k": 0, "top_p": 1.0, "min_p": 0.0}
PROMPTS = [[2, 9, 10, 11], [2, 50], [2, *range(20, 40)]]


def logits(seed, rows=4, vocab=50, spread=3.0):
    return spread * torch.randn(rows, vocab, generator=torch.Generator().manual_seed(seed))


def seeded(seed=1):
    return torch.Generator().manual_seed(seed)


every_seed = pytest.mark.parametrize("seed", range(5))


@every_seed
@pytest.mark.parametrize("top_k", [1, 3, 49, 50, 80])
def test_top_k_is_that_of_transformers(seed, top_k):
    scores = logits(seed)
    assert torch.equal(top_k_only(scores, top_k), processors.TopKLogitsWarper(top_k)(None, scores))


@every_seed
@pytest.mark.parametrize("top_p", [1e-9, 0.1, 0.5, 0.9, 0.999])
def test_top_p_is_that_of_transformers(seed, top_p):
    scores = logits(seed)
    assert torch.equal(top_p_only(scores, top_p), processors.TopPLogitsWarper(top_p)(None, scores))


@every_seed
@pytest.mark.parametrize("min_p", [0.01, 0.1, 0.5, 1.0])
def test_min_p_is_that_of_transformers(seed, min_p):
    scores = logits(seed)
    assert torch.equal(min_p_only(scores, min_p), processors.MinPLogitsWarper(min_p)(None, scores))


@every_seed
@pytest.mark.parametrize("penalty", [0.5, 1.2, 3.0])
def test_the_repetition_penalty_is_that_of_transformers(seed, penalty):
    scores, seen = logits(seed), torch.randint(0, 50, (4, 30), generator=seeded(seed))
    theirs = processors.RepetitionPenaltyLogitsProcessor(penalty)(seen, scores.clone())
    assert torch.equal(penalized(scores, seen, penalty), theirs)


@every_seed
@pytest.mark.parametrize("size", [1, 2, 3, 40])
def test_ngrams_are_banned_as_in_transformers(seed, size):
    scores, seen = logits(seed), torch.randint(0, 6, (4, 30), generator=seeded(seed))
    theirs = processors.NoRepeatNGramLogitsProcessor(size)(seen, scores.clone())
    assert torch.equal(without_repeated_ngrams(scores, seen, size), theirs)


@every_seed
def test_padding_is_nothing_that_was_said(seed):
    scores, seen = logits(seed), torch.randint(0, 6, (4, 9), generator=seeded(seed))
    padded = torch.cat((torch.full((4, 5), -1), seen), 1)
    for size in (1, 2, 3):
        adjust = repeats_adjusted(1.5, size)
        assert torch.equal(adjust(scores, padded), adjust(scores, seen))


@given(
    seed=st.integers(0, 1000),
    spread=st.sampled_from([0.0, 1.0, 30.0, 1e4]),
    temperature=st.sampled_from([1e-30, 0.01, 1.0, 100.0]),
    top_k=st.integers(0, 60),
    top_p=st.floats(1e-9, 1.0),
    min_p=st.floats(0.0, 1.0),
)
def test_filters_leave_the_likeliest_token_and_a_distribution(seed, spread, temperature, top_k, top_p, min_p):
    scores = logits(seed, spread=spread)
    shares = distribution(scores, temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p)
    torch.testing.assert_close(shares.sum(-1), torch.ones(4))
    assert (shares.gather(1, shares.argmax(-1, keepdim=True)) > 0).all()
    assert torch.equal(scores.gather(1, shares.argmax(-1, keepdim=True))[:, 0], scores.amax(-1))


def test_what_has_no_share_is_never_drawn():
    shares = torch.tensor([[0.0, 1e-30, 0.5, 0.0, 0.5, 0.0]]).expand(20_000, -1)
    assert set(drawn(shares, seeded(1)).tolist()) == {2, 4}


@pytest.mark.parametrize("strange", [float("nan"), float("inf")])
def test_shares_that_are_no_numbers_are_refused(strange):
    with pytest.raises(ValueError, match="no numbers"):
        drawn(torch.tensor([[0.5, 0.5], [0.5, strange]]), seeded(1))


def test_with_everything_off_the_softmax_is_drawn_from():
    scores = logits(1)
    torch.testing.assert_close(distribution(scores, **OFF), torch.softmax(scores, -1))
    counts = torch.zeros(1, 4)
    given, choose = torch.tensor([[1.0, 0.0, 2.0, -1.0]]), sampler(seeded())
    for _ in range(4000):
        counts[0, choose(given)] += 1
    torch.testing.assert_close(counts / 4000, torch.softmax(given, -1), atol=0.03, rtol=0)


@every_seed
@pytest.mark.parametrize("narrow", [{"top_k": 1}, {"top_p": 1e-9}, {"min_p": 1.0}, {"temperature": 1e-6}], ids=str)
def test_the_narrowest_filter_is_greedy(seed, narrow):
    scores = logits(seed)
    assert torch.equal(sampler(seeded(seed), **narrow)(scores), greedy(scores))


def test_the_filters_come_in_the_order_of_transformers():
    scores = logits(3)
    expected = scores / 0.7
    for warp in (
        processors.TopKLogitsWarper(20),
        processors.TopPLogitsWarper(0.8),
        processors.MinPLogitsWarper(0.05),
    ):
        expected = warp(None, expected)
    found = distribution(scores, temperature=0.7, top_k=20, top_p=0.8, min_p=0.05)
    torch.testing.assert_close(found, torch.softmax(expected, -1))


def test_samples_repeat_with_their_seed_and_keep_to_the_nucleus():
    given = torch.tensor([[4.0, 3.9, 0.0, -1.0]])
    drawn = {int(sampler(seeded(seed), top_p=0.6)(given)) for seed in range(60)}
    assert drawn == {0, 1}
    decoder, settings = decoder_of(), Decoding(max_new_tokens=9, temperature=1.5, top_k=20)
    first, again, other = (decode(decoder, PROMPTS, settings, seeded(seed)) for seed in (1, 1, 2))
    assert first == again != other


def test_any_batch_gives_the_same_answers_in_order():
    decoder, settings, heard = decoder_of(), Decoding(max_new_tokens=9, num_beams=2), []
    expected = [decode(decoder, [prompt], settings, seeded())[0] for prompt in PROMPTS]
    for batch in (1, 2, 3):
        found = decode_batches(decoder, PROMPTS, settings, seeded(), batch=batch, watch=heard.append)
        assert found == expected
    assert heard == [1, 2, 3, 2, 3, 3]


def test_repetition_control_keeps_greedy_from_repeating():
    decoder, prompt = decoder_of(), [2, 7, 8, 7, 8]
    for size in (1, 2):
        settings = Decoding(max_new_tokens=30, no_repeat_ngram_size=size)
        whole = prompt + decode(decoder, [prompt], settings, seeded())[0]
        runs = [tuple(whole[at : at + size]) for at in range(len(prompt) - size + 1, len(whole) - size + 1)]
        assert len(runs) == len(set(runs))
        assert not set(runs) & {tuple(prompt[at : at + size]) for at in range(len(prompt) - size + 1)}
    assert decode(decoder, [prompt], Decoding(max_new_tokens=30), seeded()) == generate(decoder, [prompt], 30)


CONTRADICTIONS = {
    "num_beams is 4 and temperature 0.7: beams search, a temperature draws": {"num_beams": 4, "temperature": 0.7},
    "top_k and min_p: nothing is drawn at temperature 0; give a temperature": {"top_k": 3, "min_p": 0.1},
    "length_penalty is 0.6, but only beams compare lengths; give num_beams": {"length_penalty": 0.6},
}


@pytest.mark.parametrize(("said", "settings"), CONTRADICTIONS.items(), ids=CONTRADICTIONS)
def test_contradictions_are_told(said, settings):
    with pytest.raises(DecodingError, match=said):
        Decoding(max_new_tokens=1, **settings)


def test_settings_say_what_they_do():
    told = {
        "greedy, at most 8 tokens": {},
        "beam search, 4 beams, length penalty 0.6, at most 8 tokens": {"num_beams": 4, "length_penalty": 0.6},
        "sampled, temperature 0.7, top_k 40, top_p 0.9, min_p 0.05, at most 8 tokens": {
            "temperature": 0.7,
            "top_k": 40,
            "top_p": 0.9,
            "min_p": 0.05,
        },
        "sampled, temperature 1, at most 8 tokens": {"temperature": 1.0},
        "greedy, at most 8 tokens, repetition penalty 1.2, no run of 3 tokens twice": {
            "repetition_penalty": 1.2,
            "no_repeat_ngram_size": 3,
        },
    }
    for words, settings in told.items():
        assert str(Decoding(max_new_tokens=8, **settings)) == words
    assert chooser(Decoding(max_new_tokens=8), seeded()) is greedy
