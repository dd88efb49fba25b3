"""Laws of the decoder, for every kind of shape; and the same logits as Transformers."""

import math

import pytest
import torch
from fakes import SHAPES, TINY, decoder_of, documents
from transformers import AutoModelForCausalLM

from minikin.base.device import CPU
from minikin.model.cache import Cache
from minikin.model.checkpoint import save
from minikin.model.generate import generate, last, log_probabilities_after, read, reply_log_probabilities
from minikin.model.norm import normalized
from minikin.model.tables import mixed

every_shape = pytest.mark.parametrize("config", SHAPES.values(), ids=SHAPES)


def one_document(rows, length):
    tokens = torch.randint(6, TINY.vocab_size, (rows, length), generator=torch.Generator().manual_seed(4))
    return tokens, torch.arange(length).expand(rows, -1), torch.zeros(rows, length, dtype=torch.int64)


@every_shape
@torch.no_grad()
def test_logits_are_those_of_transformers(config, tmp_path):
    decoder = decoder_of(config)
    save(decoder, tmp_path)
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path)
    tokens, positions, owners = one_document(3, 40)
    difference = decoder.logits(decoder(tokens, positions, owners)) - theirs(tokens).logits
    assert difference.abs().max() <= 1e-4


@every_shape
@torch.no_grad()
def test_greedy_answers_are_those_of_transformers(config, tmp_path):
    decoder = decoder_of(config)
    save(decoder, tmp_path)
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path)
    tokens, *_ = one_document(1, 12)
    said = theirs.generate(tokens, max_new_tokens=20, do_sample=False)[0, 12:].tolist()
    said = said[: next((at for at, token in enumerate(said) if token in config.eos_token_ids), len(said))]
    assert generate(decoder, tokens.tolist(), 20) == [said]


@every_shape
def test_counted_parameters_are_the_real_ones(config):
    decoder = decoder_of(config)
    buffers = sum(layer.layer_scalar.numel() for layer in decoder.layers)
    assert sum(parameter.numel() for parameter in decoder.parameters()) + buffers == config.parameters


@every_shape
@torch.no_grad()
def test_decoding_by_pieces_equals_one_pass(config):
    decoder = decoder_of(config)
    tokens, positions, owners = one_document(2, 40)
    whole = decoder.logits(decoder(tokens, positions, owners))
    cache = Cache.empty(config, 2, CPU)
    stretches = [slice(0, 17), slice(17, 18), slice(18, 19), slice(19, 40)]
    parts = [decoder.logits(decoder(tokens[:, s], positions[:, s], owners[:, s], cache)) for s in stretches]
    torch.testing.assert_close(torch.cat(parts, 1), whole, atol=2e-5, rtol=1e-5)


@every_shape
@torch.no_grad()
def test_picking_positions_changes_none_of_them(config):
    decoder = decoder_of(config)
    tokens, positions, owners = one_document(2, 20)
    whole = decoder(tokens, positions, owners)
    torch.testing.assert_close(decoder(tokens, positions, owners, pick=last), whole[:, -1])
    torch.testing.assert_close(decoder(tokens, positions, owners, pick=lambda x: x[:, 3:9]), whole[:, 3:9])


@every_shape
def test_training_and_answering_compute_the_same(config):
    decoder = decoder_of(config)
    tokens, positions, owners = one_document(2, 20)
    learned = decoder(tokens, positions, owners)
    with torch.no_grad():
        torch.testing.assert_close(decoder(tokens, positions, owners), learned, atol=2e-5, rtol=1e-5)


@every_shape
@torch.no_grad()
def test_later_tokens_never_change_earlier_logits(config):
    decoder = decoder_of(config)
    tokens, positions, owners = one_document(1, 30)
    changed = tokens.clone()
    changed[:, 20:] = 7
    before, after = (decoder.logits(decoder(given, positions, owners)) for given in (tokens, changed))
    torch.testing.assert_close(before[:, :20], after[:, :20], atol=1e-6, rtol=0)
    assert (before[:, 20:] - after[:, 20:]).abs().max() > 1e-3


@every_shape
@torch.no_grad()
def test_documents_of_a_row_do_not_see_each_other(config):
    decoder, rows = decoder_of(config), documents(2, 24, config)
    together = decoder(rows.tokens, rows.positions, rows.documents)
    for part in (slice(0, 12), slice(12, 24)):
        alone = decoder(rows.tokens[:, part], rows.positions[:, part], rows.documents[:, part])
        torch.testing.assert_close(together[:, part], alone, atol=2e-5, rtol=1e-5)


@torch.no_grad()
def test_a_batch_of_uneven_prompts_answers_as_each_alone():
    decoder = decoder_of()
    prompts = [[2, 9, 10, 11], [2, 50], [2, *range(20, 40)]]
    assert generate(decoder, prompts, 15) == [generate(decoder, [prompt], 15)[0] for prompt in prompts]


@torch.no_grad()
def test_log_probabilities_of_replies_are_those_of_whole_texts():
    decoder, prompt, replies = decoder_of(), [2, 9, 10], [[11, 12, 13], [14], [15, 16]]
    totals, lengths = reply_log_probabilities(decoder, prompt, replies)
    assert lengths.tolist() == [3, 1, 2]
    for reply, total in zip(replies, totals.tolist(), strict=True):
        tokens = torch.tensor([prompt + reply])
        hidden = decoder(tokens, torch.arange(tokens.shape[1])[None], torch.zeros_like(tokens))
        scores = torch.log_softmax(decoder.logits(hidden), -1)[0]
        expected = sum(scores[len(prompt) - 1 + at, token].item() for at, token in enumerate(reply))
        assert math.isclose(total, expected, abs_tol=1e-4)


def test_replies_to_several_prompts_are_as_likely_as_to_each_alone():
    decoder = decoder_of()
    prompts, replies = [[2, 9, 8], [2, 7], [2, 5, 6, 7, 8, 9, 10, 11, 12, 13]], [[40, 41], [50, 51, 52], [60], [61, 62]]
    owners = [2, 0, 0, 1]
    together, _ = log_probabilities_after(decoder, read(decoder, prompts), owners, replies)
    alone = [reply_log_probabilities(decoder, prompts[at], [said])[0] for at, said in zip(owners, replies, strict=True)]
    torch.testing.assert_close(together, torch.cat(alone))


def test_the_hand_written_gradient_is_right():
    x = torch.randn(3, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda given: normalized(given, 1e-6), x)
    theirs = torch.nn.functional.rms_norm(x, (5,), eps=1e-6)
    torch.testing.assert_close(normalized(x, 1e-6), theirs)


def test_the_hand_written_gradient_of_tables_is_right():
    rows, projected = (torch.randn(1, 2, 3, 4, dtype=torch.float64, requires_grad=True) for _ in range(2))
    scale = torch.randn(4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda *given: mixed(*given, 1e-6, 0.7), (rows, projected, scale))
