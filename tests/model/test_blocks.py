"""Rows that are looked at in blocks give what whole rows give; only rows whose documents end at borders are."""

import pytest
import torch
from fakes import SHAPES, decoder_of

from minikin.model import blocks
from minikin.model.blocks import cut_rows, in_pieces

LONG = [60, 60, 16]  # lengths of documents; quarters are 34 long
ROUNDING = 1e-5  # orders of sums differ by less, one key that is left out by a fifth and more


def apart(one, other):
    """Length of the difference, as a part of the other's length."""
    return ((one - other).norm() / other.norm()).item()


def row(lengths):
    positions = torch.cat([torch.arange(length) for length in lengths])
    documents = torch.cat([torch.full((length,), number) for number, length in enumerate(lengths)])
    return positions, documents


def rows(*kinds):
    """Rows of 136 tokens of these documents."""
    positions, documents = (torch.stack(parts) for parts in zip(*map(row, kinds), strict=True))
    generator = torch.Generator().manual_seed(1)
    return torch.randint(6, 300, positions.shape, generator=generator), positions, documents


@pytest.fixture(autouse=True)
def _short_rows_count(monkeypatch):
    monkeypatch.setattr(blocks, "_LEAST", 8)


ALIGNED = [10, 20, 4, 34, 5, 29, 1, 33]


@pytest.mark.parametrize("shape", SHAPES)
def test_in_blocks_as_whole(shape, monkeypatch):
    decoder = decoder_of(SHAPES[shape])
    given = rows(LONG, ALIGNED, LONG, ALIGNED, ALIGNED)
    assert [size for _, size in cut_rows(given[2])] == [34, 136]
    cut = decoder(*given)
    (gradient,) = torch.autograd.grad(cut.square().sum(), decoder.embed_tokens.weight)
    monkeypatch.setattr(blocks, "_LEAST", 1000)
    assert cut_rows(given[2]) == [(None, 136)]
    whole = decoder(*given)
    assert apart(cut, whole) < ROUNDING
    (expected,) = torch.autograd.grad(whole.square().sum(), decoder.embed_tokens.weight)
    assert apart(gradient, expected) < ROUNDING


@pytest.mark.parametrize("shape", SHAPES)
def test_in_pieces_as_at_once(shape, monkeypatch):
    monkeypatch.setattr(blocks, "_LEAST", 1000)
    monkeypatch.setattr(blocks, "_PIECE", 1000)
    decoder = decoder_of(SHAPES[shape])
    given = rows(LONG, [136], ALIGNED)
    (expected,) = torch.autograd.grad(decoder(*given).square().sum(), decoder.embed_tokens.weight)
    monkeypatch.setattr(blocks, "_PIECE", 16)
    found = decoder(*given)
    with torch.no_grad():
        assert apart(found, decoder(*given)) < ROUNDING
    (gradient,) = torch.autograd.grad(found.square().sum(), decoder.embed_tokens.weight)
    assert apart(gradient, expected) < ROUNDING


@pytest.mark.parametrize("window", [1, 15, 16, 17, 18, 50, 136])
def test_pieces_leave_out_only_what_is_out_of_reach(window, monkeypatch):
    monkeypatch.setattr(blocks, "_PIECE", 16)
    place = torch.arange(136)
    distance = place[:, None] - place
    mask = torch.where((distance >= 0) & (distance < window), 0.0, float("-inf"))[None, None]
    together = torch.full_like(mask, float("-inf"))
    for piece in in_pieces(mask, window):
        together[:, :, piece.queries, piece.keys] = piece.mask
    assert torch.equal(together, mask)
    first, *_, last = in_pieces(mask, window)
    assert (first.keys, last.keys.stop) == (slice(0, 16), 136)
    assert last.keys.start == max(0, 129 - window) // 16 * 16


def test_only_rows_whose_documents_end_at_all_borders_are_cut():
    *_, documents = rows(LONG, ALIGNED, [33, 2, 33, 34, 34], ALIGNED)
    (short, length), (long, time) = cut_rows(documents)
    assert (short.tolist(), length) == ([1, 3], 34)
    assert (long.tolist(), time) == ([0, 2], 136)


def test_padding_reaches_over_borders_without_harm():
    tokens, positions, documents = rows([30, 106], LONG)
    documents[0, 30:] = -1
    assert cut_rows(documents)[0][0].tolist() == [0]
    decoder, alone = decoder_of(), slice(0, 30)
    padded = decoder(tokens, positions, documents)[:1, alone]
    torch.testing.assert_close(padded, decoder(tokens[:1, alone], positions[:1, alone], documents[:1, alone]))


def test_rows_that_have_no_quarters_stay_whole():
    *_, documents = rows([136])
    assert cut_rows(documents) == [(None, 136)]
    assert cut_rows(documents[:, :135]) == [(None, 135)]
