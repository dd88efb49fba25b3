"""Cutting nothing changes nothing; cutting what is dead changes nothing; a cut can only remove."""

from dataclasses import replace

import pytest
import torch
from fakes import SHAPES, TINY, decoder_of, documents, padded

from minikin.base.errors import PlanError
from minikin.model.config import FULL, SLIDING
from minikin.shrink.choose import choose, layer_kinds, matching_layers, most_important
from minikin.shrink.cut import cut, refuse_larger
from minikin.shrink.importance import importance


def shrunk(decoder, config):
    rows = [documents(4, 24, decoder.config, seed) for seed in (1, 2)]
    return cut(decoder, config, choose(importance(decoder, rows), decoder.config, config))


def logits(decoder, rows):
    with torch.no_grad():
        return decoder.logits(decoder(rows.tokens, rows.positions, rows.documents))


@pytest.mark.parametrize("config", SHAPES.values(), ids=SHAPES)
def test_cutting_nothing_changes_nothing(config):
    decoder = decoder_of(config)
    for name, tensor in shrunk(decoder, config).state_dict().items():
        assert torch.equal(tensor, decoder.state_dict()[name]), name


def test_padding_says_nothing_of_importance():
    decoder, rows = decoder_of(), documents(3, 24)
    plain, wide = importance(decoder, [rows]), importance(decoder, [padded(rows, 8)])
    for name, scores in vars(plain).items():
        torch.testing.assert_close(getattr(wide, name), scores, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_the_stream_keeps_the_most_important_channels_as_they_were():
    decoder, rows = decoder_of(), documents(3, 24)
    config = replace(TINY, hidden_size=16, hidden_size_per_layer_input=4)
    kept = choose(importance(decoder, [rows]), TINY, config)
    child = cut(decoder, config, kept)
    whole, _ = decoder.embedded(rows.tokens)
    stream, _ = child.embedded(rows.tokens)
    torch.testing.assert_close(stream, whole[..., kept.hidden])


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


SHARED = SHAPES["shared keys"]


def test_layers_that_share_keys_keep_the_layer_that_offers_them():
    # the layers: sliding, full, sliding (offers), full (offers), sliding (shares), full (shares)
    smaller = replace(SHARED, num_hidden_layers=5, num_kv_shared_layers=2, layer_types=SHARED.layer_types[1:])
    assert matching_layers([9.0, 0.0, 0.0, 0.0, 0.0, 0.0], SHARED, smaller) == (1, 2, 3, 4, 5)
    without = replace(SHARED, num_hidden_layers=2, num_kv_shared_layers=0, layer_types=(SLIDING, FULL))
    assert matching_layers([1.0, 1.0, 3.0, 2.0, 9.0, 9.0], SHARED, without) == (2, 3)


def test_the_layers_kept_have_the_largest_total():
    smaller = replace(TINY, num_hidden_layers=2, layer_types=(SLIDING, FULL))
    assert matching_layers([0.5, 2.0, 1.0], TINY, smaller) == (1, 2)
    assert matching_layers([2.0, 0.5, 1.0], TINY, smaller) == (0, 2)


def test_every_part_of_layers_that_share_keys_can_be_cut():
    config = replace(
        SHARED,
        hidden_size=24,
        intermediate_size=16,
        num_hidden_layers=4,
        num_attention_heads=2,
        num_key_value_heads=1,
        hidden_size_per_layer_input=8,
        layer_types=SHARED.layer_types[2:],
    )
    assert logits(shrunk(decoder_of(SHARED), config), documents(2, 24)).isfinite().all()


def test_a_shape_that_no_layers_of_the_parent_fit_is_refused():
    config = replace(SHARED, num_hidden_layers=3, num_kv_shared_layers=1, layer_types=(FULL, SLIDING, FULL))
    with pytest.raises(PlanError, match="no 3 can be kept"):
        refuse_larger(config, SHARED)


E2B = replace(
    SHARED,
    num_hidden_layers=35,
    layer_types=((SLIDING,) * 4 + (FULL,)) * 7,
    num_kv_shared_layers=20,
)
IRREGULAR = replace(SHARED, num_hidden_layers=4, layer_types=(FULL, SLIDING, SLIDING, FULL), num_kv_shared_layers=0)


@pytest.mark.parametrize("like", [E2B, IRREGULAR, SHARED, TINY], ids=["E2B", "irregular", "shared", "tiny"])
def test_every_depth_has_kinds_of_layers_that_the_parent_can_fill(like):
    for layers in range(1, like.num_hidden_layers + 1):
        kinds, shared = layer_kinds(like, layers)
        config = replace(like, num_hidden_layers=layers, layer_types=kinds, num_kv_shared_layers=shared)
        refuse_larger(config, like)
    assert (kinds, shared) == (like.layer_types, like.num_kv_shared_layers)
