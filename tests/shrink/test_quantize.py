"""Decoders whose weights lie on grids: what is moved and what is not, and how they are trained there."""

from dataclasses import replace

import pytest
import torch
from fakes import TINY, decoder_of, documents, padded

from minikin.model.linear import Linear
from minikin.shrink.moments import second_moments
from minikin.shrink.quantize import FLOAT16, hold_on_grids, let_go, put_on_grids
from minikin.train.objective import NextToken

EVEN = replace(TINY, intermediate_size=64, hidden_size_per_layer_input=32)
TABLE, HEAD, DOWN = "tables.embed_tokens_per_layer.weight", "embed_tokens.weight", "layers.0.mlp.down_proj.weight"
BITS = {TABLE: 4, HEAD: 8, DOWN: 4, "layers.1.mlp.up_proj.weight": 8, "layers.2.mlp.up_proj.weight": FLOAT16}


def moved():
    decoder = decoder_of(EVEN)
    return decoder, put_on_grids(decoder, BITS, second_moments(decoder, [documents(4, 16, EVEN)]))


def test_padding_says_nothing_of_what_goes_into_products():
    decoder, rows = decoder_of(EVEN), documents(3, 16, EVEN)
    plain, wide = second_moments(decoder, [rows]), second_moments(decoder, [padded(rows, 16)])
    for name, moments in plain.items():
        torch.testing.assert_close(wide[name], moments, atol=1e-5, rtol=1e-4)


def loss_of(decoder):
    return sum(NextToken().losses(decoder, documents(3, 16, EVEN)).values())


def whole(weight, scales):
    numbers = weight.view(*scales.shape, 32) / torch.where(scales == 0, 1.0, scales)[..., None]
    return torch.equal(numbers.round() * scales[..., None], weight.view(*scales.shape, 32)), numbers.round()


def test_only_what_is_named_is_moved_and_that_to_whole_numbers():
    before = {name: tensor.clone() for name, tensor in decoder_of(EVEN).state_dict().items()}
    decoder, scales = moved()
    assert scales.keys() == {name for name, bits in BITS.items() if bits != FLOAT16}
    for name, tensor in decoder.state_dict().items():
        if name in scales:
            on_grid, numbers = whole(tensor, scales[name])
            assert on_grid
            assert (numbers.min() >= -8 and numbers.max() <= 7) if BITS[name] == 4 else numbers.abs().max() <= 127
            assert 0 < (tensor - before[name]).abs().max() < 0.2 * before[name].abs().max()
        elif name in BITS:
            assert torch.equal(tensor, before[name].half().float())
        else:
            assert torch.equal(tensor, before[name])


def test_narrow_weights_are_moved_in_float32():
    decoder = decoder_of(EVEN)
    decoder.tables.embed_tokens_per_layer.weight.data = decoder.tables.embed_tokens_per_layer.weight.data.bfloat16()
    scales = put_on_grids(decoder, {TABLE: 8}, {})
    assert whole(decoder.state_dict()[TABLE], scales[TABLE])[0]


def test_held_weights_compute_as_those_on_the_grid_and_their_gradient_is_the_same():
    (plain, _), (held, scales) = moved(), moved()
    hold_on_grids(held, BITS, scales)
    losses = loss_of(plain), loss_of(held)
    assert losses[0] == losses[1]
    for loss in losses:
        loss.backward()
    free = held.get_submodule("layers.0.mlp.down_proj").parametrizations.weight.original.grad
    assert torch.equal(free, plain.get_submodule("layers.0.mlp.down_proj").weight.grad)
    assert held.tables.embed_tokens_per_layer.weight.grad is None


def test_what_was_trained_on_a_grid_is_let_go_on_it():
    decoder, scales = moved()
    names, before = list(decoder.state_dict()), loss_of(decoder).item()
    table = decoder.state_dict()[TABLE].clone()
    hold_on_grids(decoder, BITS, scales)
    optimizer = torch.optim.Adam([p for p in decoder.parameters() if p.requires_grad], lr=0.01)
    for _ in range(30):
        optimizer.zero_grad()
        loss = loss_of(decoder)
        loss.backward()
        optimizer.step()
    held = loss_of(decoder).item()
    found = let_go(decoder)
    assert sorted([*found, TABLE]) == sorted(scales)
    assert all(torch.equal(found[name], scales[name]) for name in found)
    assert held < before - 0.5
    assert loss_of(decoder).item() == held
    assert list(decoder.state_dict()) == names
    assert torch.equal(decoder.state_dict()[TABLE], table)
    assert all(parameter.requires_grad for parameter in decoder.parameters())
    for name, scale in scales.items():
        assert whole(decoder.state_dict()[name], scale)[0]


@pytest.mark.parametrize("bits", [4, 8])
def test_more_bits_and_moments_lose_less_of_what_comes_out(bits):
    rows = documents(16, 16, EVEN)
    true = decoder_of(EVEN)
    moments = second_moments(true, [rows])
    linear = {f"{name}.weight": bits for name, module in true.named_modules() if isinstance(module, Linear)}

    def distance(moments):
        decoder = decoder_of(EVEN)
        put_on_grids(decoder, linear, moments)
        with torch.no_grad():
            found, expected = (d(rows.tokens, rows.positions, rows.documents) for d in (decoder, true))
        return float((found - expected).square().mean() / expected.square().mean())

    assert distance(moments) < distance({})
    assert distance(moments) < {4: 0.5, 8: 1e-2}[bits]
