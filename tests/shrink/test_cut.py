"""Cutting nothing changes nothing; cutting what is dead changes nothing; a cut can only remove."""

from dataclasses import replace

import pytest
import torch
from fakes import SHAPES, TINY, decoder_of, documents

from minikin.base.errors import PlanError
from minikin.model.config import FULL, SLIDING
from minikin.shrink.cut import choose, cut, refuse_larger
from minikin.shrink.importance import importance, most_important


def shrunk(decoder, config):
    rows = [documents(4, 24, decoder.config, seed) for seed in (1, 2)]
    return cut(decoder, config, choose(importance(decoder, rows), config))


def logits(decoder, rows):
    with torch.no_grad():
        return decoder.logits(decoder(rows.tokens, rows.positions, rows.documents))


@pytest.mark.parametrize("config", SHAPES.values(), ids=SHAPES)
def test_cutting_nothing_changes_nothing(config):
    decoder = decoder_of(config)
    for name, tensor in shrunk(decoder, config).state_dict().items():
        assert torch.equal(tensor, decoder.state_dict()[name]), name


@torch.no_grad()
def test_cutting_dead_feed_forward_channels_changes_nothing():
    decoder, rows = decoder_of(), documents(3, 24)
    for layer in decoder.layers:
        layer.mlp.up_proj.weight[40:] = 0
    smaller = shrunk(decoder, replace(TINY, intermediate_size=40))
    torch.testing.assert_close(logits(smaller, rows), logits(decoder, rows), atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_cutting_a_dead_group_of_heads_changes_nothing():
    decoder, rows = decoder_of(), documents(3, 24)
    for layer in decoder.layers:
        layer.self_attn.v_proj.weight[: TINY.head_dim] = 0
    smaller = shrunk(decoder, replace(TINY, num_attention_heads=2, num_key_value_heads=1))
    torch.testing.assert_close(logits(smaller, rows), logits(decoder, rows), atol=2e-5, rtol=1e-5)


@torch.no_grad()
def test_cutting_a_silent_layer_changes_nothing():
    decoder, rows = decoder_of(), documents(3, 24)
    silent = decoder.layers[1]
    for norm in (silent.post_attention_layernorm, silent.post_feedforward_layernorm):
        norm.weight.zero_()
    silent.table.post_per_layer_input_norm.weight.zero_()
    smaller = shrunk(decoder, replace(TINY, num_hidden_layers=2, layer_types=(SLIDING, FULL)))
    torch.testing.assert_close(logits(smaller, rows), logits(decoder, rows), atol=1e-5, rtol=1e-5)


def test_every_part_can_be_cut_at_once():
    config = replace(
        TINY,
        hidden_size=24,
        intermediate_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        hidden_size_per_layer_input=8,
        layer_types=(SLIDING, FULL),
    )
    smaller = shrunk(decoder_of(), config)
    assert smaller.config == config
    assert logits(smaller, documents(2, 24)).isfinite().all()


@pytest.mark.parametrize("name", ["hidden_size", "intermediate_size", "hidden_size_per_layer_input"])
def test_a_member_larger_than_its_parent_is_refused(name):
    larger = replace(TINY, **{name: getattr(TINY, name) + 8})
    with pytest.raises(PlanError, match=f"{name} is .* larger than its parent's"):
        refuse_larger(larger, TINY)


def test_the_most_important_are_named_in_order():
    assert most_important(torch.tensor([0.1, 5.0, 0.3, 4.0]), 2) == (1, 3)
