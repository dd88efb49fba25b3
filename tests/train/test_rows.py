"""Row by row: as AdamW where all is touched, bit-identical where nothing is, and memory for what occurred only."""

from dataclasses import replace

import pytest
import torch
from fakes import TINY, decoder_of, documents
from torch import nn
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from minikin.train.objective import NextToken
from minikin.train.optimizer import Optimizers, Schedule
from minikin.train.rows import RowAdam, row_gradient

ROWS, WIDTH, RATE, BETAS = 40, 6, 0.01, (0.9, 0.95)


def table_of(dtype=torch.float32, rows=ROWS, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return nn.Parameter(torch.randn(rows, WIDTH, generator=generator).to(dtype))


def slopes_of(count, seed):
    return torch.randn(count, WIDTH, generator=torch.Generator().manual_seed(seed))


def lookup(table, tokens, slopes, sparse=True):
    """Leaves the gradient `slopes` at the rows that were looked up."""
    table.grad = None
    (functional.embedding(tokens, table, sparse=sparse).float() * slopes).sum().backward()


def moved(table, adam, tokens, slopes, rate=RATE):
    lookup(table, tokens, slopes)
    adam.step(row_gradient(table), rate)


def optimizers_of(decoder, clip_norm=1.0):
    return Optimizers(decoder, Schedule(peak=0.01, steps=10, warmup=0.1, decay=0.1), 0.05, clip_norm, torch.float32)


def trained(decoder, optimizers, steps, rows=None):
    for step in steps:
        NextToken().losses(decoder, rows or documents(2, 12, seed=step))["truth"].backward()
        yield optimizers.step(step)


class Largest(TorchDispatchMode):
    """Notes how many entries the largest dense tensor has that is made beside one that was there."""

    def __init__(self, there):
        super().__init__()
        self.there, self.entries = there.untyped_storage().data_ptr(), 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        found = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(found):
            dense = isinstance(tensor, torch.Tensor) and tensor.layout == torch.strided
            if dense and tensor.untyped_storage().data_ptr() != self.there:
                self.entries = max(self.entries, tensor.numel())
        return found


def test_a_table_whose_rows_are_all_touched_moves_as_under_adamw():
    mine, theirs = table_of(), table_of()
    adam = RowAdam(mine, BETAS)
    adamw = torch.optim.AdamW([theirs], lr=RATE, betas=BETAS, weight_decay=0.0)
    for step in range(20):
        tokens, slopes = torch.arange(ROWS).roll(step), slopes_of(ROWS, step)
        moved(mine, adam, tokens, slopes)
        lookup(theirs, tokens, slopes, sparse=False)
        adamw.step()
        torch.testing.assert_close(mine, theirs, atol=1e-6, rtol=1e-6)


def test_a_row_lives_in_its_own_time():
    together, apart = table_of(), table_of()
    one, other = RowAdam(together, BETAS), RowAdam(apart, BETAS)
    for step in range(4):
        slopes = slopes_of(2, step)
        moved(together, one, torch.tensor([3, 7]), slopes)
        moved(apart, other, torch.tensor([7]), slopes[1:])
    for step in range(4):
        moved(apart, other, torch.tensor([3]), slopes_of(2, step)[:1])
    assert torch.equal(together, apart)


def test_rows_that_are_not_touched_stay_and_cost_no_state():
    table = table_of()
    before = table.detach().clone()
    adam = RowAdam(table, BETAS)
    touched = torch.tensor([5, 2, 31])
    for step in range(3):
        moved(table, adam, touched, slopes_of(3, step))
    others = [row for row in range(ROWS) if row not in touched]
    assert torch.equal(table[others], before[others])
    assert not (table[touched] == before[touched]).any()
    assert {name: tuple(state.shape) for name, state in adam.tensors().items()} == {
        "row": (3,),
        "steps": (3,),
        "first": (3, WIDTH),
        "second": (3, WIDTH),
    }


def test_memory_follows_the_touched_rows():
    table = table_of(rows=5000)
    adam = RowAdam(table, BETAS)
    for count in (1, 10, 100, 1000):
        moved(table, adam, torch.arange(count), torch.ones(count, WIDTH))
        reserved = sum(state.untyped_storage().nbytes() for state in adam.tensors().values())
        # row and steps in 4 bytes each, two moments; doubling reserves at most twice of it
        assert reserved <= 2 * count * (4 + 4 + 2 * 4 * WIDTH)


def test_a_token_that_occurs_twice_is_one_update_by_the_sum():
    mine, theirs = table_of(), table_of()
    slopes = slopes_of(3, 1)
    moved(mine, RowAdam(mine, BETAS), torch.tensor([4, 9, 4]), slopes)
    moved(theirs, RowAdam(theirs, BETAS), torch.tensor([4, 9]), torch.stack((slopes[0] + slopes[2], slopes[1])))
    assert torch.equal(mine, theirs)


def test_the_order_of_rows_in_a_batch_changes_rounding_only():
    rows = documents(4, 12)
    mirrored = type(rows)(**{name: value.flip(0) for name, value in vars(rows).items()})
    tables = []
    for batch in (rows, mirrored):
        decoder = decoder_of()
        assert list(trained(decoder, optimizers_of(decoder), range(2), batch))
        tables.append(decoder.tables.embed_tokens_per_layer.weight)
    torch.testing.assert_close(*tables, atol=1e-5, rtol=1e-5)


def test_the_same_steps_end_bit_for_bit_alike():
    tables = []
    for _ in range(2):
        decoder = decoder_of()
        assert list(trained(decoder, optimizers_of(decoder), range(3)))
        tables.append(decoder.tables.embed_tokens_per_layer.weight)
    assert torch.equal(*tables)


def test_the_norm_and_the_clipping_are_those_of_dense_gradients():
    decoder, dense = decoder_of(), decoder_of()
    dense.tables.embed_tokens_per_layer.sparse = False
    for model in (decoder, dense):
        NextToken().losses(model, documents(2, 12))["truth"].backward()
    expected = nn.utils.clip_grad_norm_(dense.parameters(), 0.5).item()
    assert expected > 0.5
    assert optimizers_of(decoder, clip_norm=0.5).step(0) == pytest.approx(expected, rel=1e-6)
    clipped = optimizers_of(dense, clip_norm=1e9)
    clipped.step(0)
    for one, other in zip(decoder.parameters(), dense.parameters(), strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)


def test_a_norm_that_is_not_finite_moves_nothing():
    decoder = decoder_of()
    before = {name: tensor.clone() for name, tensor in decoder.state_dict().items()}
    optimizers = optimizers_of(decoder)
    loss = NextToken().losses(decoder, documents(2, 12))["truth"]
    (loss * float("inf")).backward()
    assert not torch.isfinite(torch.tensor(optimizers.step(0)))
    assert all(torch.equal(before[name], tensor) for name, tensor in decoder.state_dict().items())
    assert len(optimizers.tensors()["rows.0.row"]) == 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_restored_state_goes_on_bit_for_bit(dtype):
    whole = table_of(dtype)
    adam = RowAdam(whole, BETAS)
    for step in range(3):
        moved(whole, adam, torch.arange(step, step + 3), slopes_of(3, step))
    table, saved = nn.Parameter(whole.detach().clone()), {name: t.clone() for name, t in adam.tensors().items()}
    # what is restored into has seen other rows, and more of them than were saved
    other_life = table_of(dtype, seed=2)
    resumed = RowAdam(other_life, BETAS)
    moved(other_life, resumed, torch.arange(20, 40), slopes_of(20, 9))
    other_life.data.copy_(table)
    resumed.restore(saved)
    for step in range(3, 30):
        tokens = torch.randint(0, ROWS, (5,), generator=torch.Generator().manual_seed(step))
        moved(whole, adam, tokens, slopes_of(5, step))
        moved(other_life, resumed, tokens, slopes_of(5, step))
    assert torch.equal(other_life, whole)
    assert all(torch.equal(state, resumed.tensors()[name]) for name, state in adam.tensors().items())


def test_small_updates_of_a_bfloat16_table_add_up():
    table = table_of(torch.bfloat16)
    start = table.detach().clone()
    adam = RowAdam(table, BETAS)
    for _ in range(100):
        moved(table, adam, torch.tensor([1]), torch.ones(1, WIDTH), rate=1e-4)
    # a hundred updates of 1e-4, each of them less than half of what bfloat16 can tell apart near 1
    torch.testing.assert_close(adam.tensors()["exact"][0], start[1].float() - 0.01, atol=1e-5, rtol=0)
    assert torch.equal(table[1], (start[1].float() - 0.01).bfloat16())


def test_a_bfloat16_table_trains_in_a_float32_decoder():
    decoder = decoder_of()
    table = decoder.tables.embed_tokens_per_layer
    table.weight = nn.Parameter(table.weight.detach().bfloat16())
    norms = list(trained(decoder, optimizers_of(decoder), range(3)))
    assert all(norm > 0 for norm in norms)
    assert table.weight.dtype == torch.bfloat16


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_no_step_makes_a_tensor_of_the_size_of_the_table(dtype):
    # wider than usual: at 300 x 192 it is three times the next largest, the logits of 64 positions
    decoder = decoder_of(replace(TINY, hidden_size_per_layer_input=64))
    table = decoder.tables.embed_tokens_per_layer
    table.weight = nn.Parameter(table.weight.detach().to(dtype))
    optimizers = optimizers_of(decoder)
    with Largest(table.weight) as largest:
        assert list(trained(decoder, optimizers, range(3)))
    assert 0 < largest.entries < table.weight.numel() / 2


def test_the_state_of_a_decoder_holds_the_tokens_that_occurred():
    decoder, rows = decoder_of(), documents(2, 12)
    optimizers = optimizers_of(decoder)
    assert list(trained(decoder, optimizers, range(1), rows))
    assert set(optimizers.tensors()["rows.0.row"].tolist()) == set(rows.tokens.flatten().tolist())
    assert optimizers.tensors()["rows.0.first"].shape[1] == TINY.num_hidden_layers * TINY.hidden_size_per_layer_input
