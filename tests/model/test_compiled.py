"""A compiled pass is the same pass, in one graph for a whole training, however many positions are picked."""

from dataclasses import replace

import pytest
import torch
from fakes import SHAPES, TINY, decoder_of, documents
from torch._dynamo.testing import CompileCounter

from minikin.model.compiled import CompiledPass, forget
from minikin.model.decoder import everywhere
from minikin.model.generate import last
from minikin.train.objective import NextToken

ROWS, LENGTH = 12, 16
# the compiler looks at the gradient of what it is given
pytestmark = pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")


@pytest.fixture(autouse=True)
def _forgotten():
    yield
    torch.compiler.reset()


def counting(step, config=TINY):
    """A batch of which another number of rows counts in every step."""
    batch = documents(ROWS, LENGTH, config, seed=step)
    return replace(batch, weights=torch.ones(ROWS, LENGTH) * (torch.arange(ROWS)[:, None] >= 4 * (step % 3)))


@pytest.mark.parametrize("config", [SHAPES["sliding"], SHAPES["shared keys"]], ids=["sliding", "shared keys"])
def test_loss_and_gradient_are_the_same_and_one_graph_serves_all_steps(config):
    plain, compiled, graphs = decoder_of(config).train(), decoder_of(config).train(), CompileCounter()
    compiled.compiled = CompiledPass(compiled, (ROWS, LENGTH), graphs)
    for step in range(5):
        losses = [NextToken().losses(decoder, counting(step, config))["truth"] for decoder in (plain, compiled)]
        gradients = [
            [slope.to_dense() for slope in torch.autograd.grad(loss, list(decoder.parameters()))]
            for loss, decoder in zip(losses, (plain, compiled), strict=True)
        ]
        torch.testing.assert_close(losses[1], losses[0])
        # as a whole: single small slopes differ by a thousandth with how a processor rounds float32, a slope as a
        # whole by 1e-5 to 1e-4 here; what was forgotten in one layer would be per cents
        distances = [float((mine - its).norm() / its.norm()) for its, mine in zip(*gradients, strict=True)]
        assert max(distances) < 1e-3
    assert graphs.frame_count == 1


@pytest.mark.parametrize("pick", [everywhere, last])
def test_any_pick_is_the_same(pick):
    batch, compiled = documents(ROWS, LENGTH), decoder_of()
    compiled.compiled = CompiledPass(compiled, (ROWS, LENGTH), "eager")
    found, expected = (
        decoder(batch.tokens, batch.positions, batch.documents, pick=pick).detach()
        for decoder in (compiled, decoder_of())
    )
    torch.testing.assert_close(found, expected)


def test_rows_that_attend_in_blocks_are_compiled_whole():
    batch, compiled = documents(2, 256), decoder_of().train()
    batch = replace(batch, positions=batch.positions % 64, documents=torch.arange(256).expand(2, -1) // 64)
    compiled.compiled = CompiledPass(compiled, (2, 256), "eager")
    losses = [NextToken().losses(decoder, batch)["truth"].detach() for decoder in (compiled, decoder_of().train())]
    torch.testing.assert_close(*losses)


def test_dropout_is_in_the_graph():
    decoder, graphs = decoder_of().train(), CompileCounter()
    decoder.dropout.p = 0.5
    decoder.compiled = CompiledPass(decoder, (ROWS, LENGTH), graphs)
    losses = [float(NextToken().losses(decoder, counting(0))["truth"].detach()) for _ in range(3)]
    assert len(set(losses)) == 3
    assert graphs.frame_count == 1


def test_one_graph_serves_short_rows_however_many():
    plain, decoder, graphs = decoder_of().train(), decoder_of().train(), CompileCounter()
    decoder.compiled = CompiledPass(decoder, (ROWS, LENGTH), graphs, short=8)
    for rows in (5, 2, 12, 7, 1):
        batch = documents(rows, 8, seed=rows)
        found, expected = (each(batch.tokens, batch.positions, batch.documents) for each in (decoder, plain))
        torch.testing.assert_close(found, expected)
        its, mine = (
            torch.autograd.grad(hidden.sum(), whose.norm.weight)[0]
            for hidden, whose in ((expected, plain), (found, decoder))
        )
        assert float((mine - its).norm() / its.norm()) < 1e-3
    assert graphs.frame_count == 1
    whole = documents(ROWS, LENGTH)
    decoder(whole.tokens, whole.positions, whole.documents)
    batch = documents(3, 8)
    decoder(batch.tokens, batch.positions, batch.documents)
    assert graphs.frame_count == 2


def test_a_training_that_is_over_leaves_no_graph():
    decoder, graphs = decoder_of(), CompileCounter()
    decoder.compiled = CompiledPass(decoder, (ROWS, LENGTH), graphs)
    forget(decoder)
    batch = documents(ROWS, LENGTH)
    decoder(batch.tokens, batch.positions, batch.documents)
    assert graphs.frame_count == 0


def test_other_shapes_and_answers_are_not_compiled():
    decoder, graphs = decoder_of(), CompileCounter()
    decoder.compiled = CompiledPass(decoder, (ROWS, LENGTH), graphs)
    batch = documents(2, LENGTH)
    expected = decoder_of()(batch.tokens, batch.positions, batch.documents)
    assert torch.equal(decoder(batch.tokens, batch.positions, batch.documents), expected)
    assert graphs.frame_count == 0
