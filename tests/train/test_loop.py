"""One loop: interrupted and resumed it ends bit for bit as uninterrupted; nothing that is not finite gets in."""

import os
import signal
from dataclasses import replace

import pytest
import torch
from fakes import TINY, decoder_of, documents, mixture

from minikin.base.errors import Interrupted, TrainingError
from minikin.train.loop import Run, fit
from minikin.train.muon import Muon
from minikin.train.objective import Distill, NextToken, held_out_loss
from minikin.train.optimizer import Optimizers, Schedule
from minikin.train.state import States
from minikin.train.teacher import Teacher

STEPS = 12


def a_run(folder, steps=STEPS, watch=lambda *_: None, save_seconds=0.0, decoder=None, dtype=torch.float32, dropout=0.0):
    """A small training; it saves after every step."""
    rows = mixture(folder.parent / "rows")
    decoder = decoder or decoder_of()
    decoder.dropout.p = dropout
    optimizers = Optimizers(decoder, Schedule(peak=0.01, steps=STEPS, warmup=0.2, decay=0.5), 0.05, 1.0, dtype)
    run = Run(
        title="tiny",
        steps=steps,
        batch_at=rows.batch,
        batch_tokens=rows.batch_tokens,
        held_out=lambda model: {"a": held_out_loss(model, iter([rows.batch(99)]))},
        offer=lambda *_: None,
        look_every=4,
        save_seconds=save_seconds,
        dtype=dtype,
        seed=1,
    )
    said = []
    reached = fit(decoder, NextToken(), optimizers, run, States(folder, said.append), watch)
    return decoder, reached, said


def gradient(decoder, rows):
    """Of the next token's loss, all parameters' in one vector."""
    truth = NextToken().losses(decoder, rows)["truth"]
    return torch.cat([slope.to_dense().flatten() for slope in torch.autograd.grad(truth, list(decoder.parameters()))])


def same(one, other):
    return all(torch.equal(one.state_dict()[name], tensor) for name, tensor in other.state_dict().items())


def test_training_lowers_the_loss(tmp_path):
    decoder, reached, _ = a_run(tmp_path / "states")
    assert reached.steps == STEPS
    # of what it saw: tokens are random, nothing is to be learned about others
    seen = [mixture(tmp_path / "rows").batch(step) for step in range(STEPS)]
    assert held_out_loss(decoder, iter(seen)) < held_out_loss(decoder_of(), iter(seen)) - 0.1


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize(("number", "dropout"), [(signal.SIGTERM, 0.0), (signal.SIGINT, 0.1)])
def test_a_stopped_training_goes_on_bit_for_bit(tmp_path, number, dropout, dtype):
    whole, reached, _ = a_run(tmp_path / "whole", dtype=dtype, dropout=dropout)

    def stop(step, *_):
        if step == 5:
            os.kill(os.getpid(), number)

    with pytest.raises(Interrupted, match=r"stopped after step 5 of 12; saved in .*step-00000005") as caught:
        a_run(tmp_path / "states", watch=stop, dtype=dtype, dropout=dropout)
    assert caught.value.exit_code == 128 + number
    resumed, again, _ = a_run(tmp_path / "states", decoder=decoder_of(seed=99), dtype=dtype, dropout=dropout)
    assert same(resumed, whole)
    assert [point.loss for point in again.curve] == [point.loss for point in reached.curve]


def test_a_damaged_state_is_told_and_the_one_before_taken(tmp_path):
    whole, *_ = a_run(tmp_path / "whole")
    a_run(tmp_path / "states", steps=7)
    path = tmp_path / "states" / "step-00000007" / "weights.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    resumed, _, said = a_run(tmp_path / "states")
    assert "weights.safetensors: is damaged" in said[0]
    assert "going back to the state before" in said[0]
    assert same(resumed, whole)


def test_where_all_states_are_damaged_those_that_follow_are_kept(tmp_path):
    whole, *_ = a_run(tmp_path / "whole")
    a_run(tmp_path / "states", steps=7)
    for path in (tmp_path / "states").glob("step-*/weights.safetensors"):
        path.write_bytes(b"")

    def stop(step, *_):
        if step == 3:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Interrupted, match=r"stopped after step 3 of 12; saved in .*step-00000003"):
        a_run(tmp_path / "states", watch=stop)
    resumed, _, said = a_run(tmp_path / "states", decoder=decoder_of(seed=99))
    assert said == []
    assert same(resumed, whole)


def test_a_loss_that_is_not_finite_stops_before_the_weights(tmp_path):
    decoder = decoder_of()

    def spoil(step, *_):
        if step == 3:
            with torch.no_grad():
                decoder.embed_tokens.weight[6:] = float("nan")

    with pytest.raises(TrainingError, match=r"at step 4 the loss is truth nan; .* last good .*step-00000003;"):
        a_run(tmp_path / "states", watch=spoil, decoder=decoder)
    assert sorted(path.name for path in (tmp_path / "states").iterdir())[-1] == "step-00000003"
    assert not any(parameter.isnan().any() for name, parameter in decoder.named_parameters() if "embed" not in name)


def test_parts_of_a_loss_are_only_minimised_together():
    decoder, rows = decoder_of(), documents(2, 24)
    teacher = Teacher(decoder=decoder_of(seed=3), kept_hidden=tuple(range(TINY.hidden_size)))
    parts = Distill(teacher=teacher, truth_share=0.5).losses(decoder, rows)
    with pytest.raises(AssertionError, match="can only be minimised as their sum"):
        parts["kl"].backward()


def test_products_in_bfloat16_point_the_same_way():
    decoder, rows = decoder_of(), documents(4, 24)
    exact = gradient(decoder, rows)
    with torch.autocast("cpu", torch.bfloat16):
        rough = gradient(decoder, rows)
    assert not torch.equal(rough, exact)
    assert torch.nn.functional.cosine_similarity(rough, exact, dim=0) > 0.99


def test_the_schedule_rises_stays_and_falls():
    schedule = Schedule(peak=2.0, steps=100, warmup=0.1, decay=0.5)
    rates = [schedule.at(step) for step in range(100)]
    assert rates[0] == pytest.approx(0.2)
    assert rates[9:51] == pytest.approx([2.0] * 42)
    assert rates[75] == pytest.approx(1.0)
    assert rates[99] == pytest.approx(0.04)


def test_muon_takes_the_steps_of_torch():
    shapes = [(12, 8), (8, 12), (12, 8), (8, 8)]
    mine = [torch.nn.Parameter(torch.randn(shape)) for shape in shapes]
    theirs = [torch.nn.Parameter(parameter.detach().clone()) for parameter in mine]
    ours, torchs = (
        Muon(mine, 0.1, torch.bfloat16),
        torch.optim.Muon(theirs, lr=0.02, weight_decay=0.1, adjust_lr_fn="match_rms_adamw"),
    )
    for _ in range(3):
        for one, other in zip(mine, theirs, strict=True):
            one.grad = torch.randn_like(one)
            other.grad = one.grad.clone()
        ours.step(0.02)
        torchs.step()
    for one, other in zip(mine, theirs, strict=True):
        # torch rounds the iteration to bfloat16, which keeps 8 bits of an update of about 0.02 · 0.2 · √12
        torch.testing.assert_close(one, other, atol=1e-3, rtol=0)


def test_a_student_that_is_its_teacher_has_no_divergence():
    decoder, rows = decoder_of(), documents(4, 24)
    teacher = Teacher(decoder=decoder, kept_hidden=tuple(range(TINY.hidden_size)))
    parts = Distill(teacher=teacher, truth_share=0.0, hidden_weight=1.0).losses(decoder, rows)
    assert abs(parts["kl"].item()) < 1e-6
    assert abs(parts["hidden"].item()) < 1e-6
    assert parts["truth"].item() == 0


def test_chunked_losses_and_gradients_equal_whole_ones(monkeypatch):
    def loss_and_gradient():
        decoder, rows = decoder_of(), documents(4, 24)
        loss = NextToken().losses(decoder, rows)["truth"]
        loss.backward()
        return loss, decoder.embed_tokens.weight.grad

    whole = loss_and_gradient()
    monkeypatch.setattr("minikin.train.head._LEAST_ROWS", 1)
    monkeypatch.setattr("minikin.train.head._IN_CACHE", 10 * TINY.vocab_size)
    torch.testing.assert_close(loss_and_gradient(), whole)


def test_only_tokens_that_count_are_learned():
    decoder, rows = decoder_of(), documents(2, 24)
    hidden = decoder(rows.tokens, rows.positions, rows.documents)
    logits = decoder.logits(hidden).flatten(0, 1)
    each = torch.nn.functional.cross_entropy(logits, rows.targets.flatten(), reduction="none")
    expected = (each * rows.weights.flatten()).sum() / rows.weights.sum()
    found = NextToken().losses(decoder, rows)["truth"]
    torch.testing.assert_close(found, expected)
    parameters = list(decoder.parameters())
    for one, other in zip(
        torch.autograd.grad(found, parameters), torch.autograd.grad(expected, parameters), strict=True
    ):
        torch.testing.assert_close(one, other)
    with pytest.raises(TrainingError, match="no token to learn from"):
        NextToken().losses(decoder, replace(rows, weights=torch.zeros_like(rows.weights)))
