"""Nothing is forgotten on the CPU: all that a family does runs on a device that refuses to be mixed with it.

The device is a pretended one with real numbers (`faraway`), so results are held against the CPU's as well. What no
pretence shows is a GPU's own kernels: their speed, their rounding, and what they refuse.
"""

from dataclasses import replace

import pytest
import torch
from fakes import SHAPES, TINY, decoder_of, documents, mixture, site
from faraway import FAR, Far, MixedDevices, faraway
from torch.nn import functional

from minikin.base.seeds import torch_generator
from minikin.family.build import build
from minikin.model.checkpoint import in_memory, load, placed, save
from minikin.model.compiled import CompiledPass
from minikin.model.decoding import Decoding, decode
from minikin.model.embed import embedded, likeness, replies
from minikin.model.generate import generate, read, reply_log_probabilities
from minikin.shrink.choose import choose
from minikin.shrink.cut import cut
from minikin.shrink.importance import importance
from minikin.train.candidates import Candidates
from minikin.train.loop import Run, fit
from minikin.train.objective import Distill, NextToken, held_out_loss
from minikin.train.optimizer import Optimizers, Schedule
from minikin.train.own_answers import OwnAnswers
from minikin.train.replying import Replying
from minikin.train.rows import RowAdam, row_gradient
from minikin.train.state import States
from minikin.train.teacher import Teacher

PROMPTS = ([7, 9, 11], [20, 21, 22, 23, 24], [30])
DECODINGS = {
    "greedy": Decoding(max_new_tokens=6),
    "drawn": Decoding(max_new_tokens=6, temperature=0.9, top_k=20, top_p=0.9, min_p=0.01),
    "beams": Decoding(max_new_tokens=6, num_beams=3),
    "repeats": Decoding(max_new_tokens=6, repetition_penalty=1.3, no_repeat_ngram_size=2),
}
FAMILY = (
    "threads=1",
    "compile='off'",
    "data.dialogue.reply_weight=0.5",
    "member.full.shape.hidden_size=32",
    "member.full.shape.num_hidden_layers=2",
    "member.full.shape.intermediate_size=32",
    "member.full.shape.head_dim=8",
    "member.full.shape.hidden_size_per_layer_input=16",
    "member.full.train={tokens = 1024, batch_tokens = 512, candidates = 0}",
    "member.mini={parent = 'full', compute = '9/10'}",
    "member.mini.distill={tokens = 512, batch_tokens = 512, teacher_answers = 2, candidates = 0}",
    "member.mini.distill.importance_samples=8",
    "member.mini.on_policy={tokens = 512, batch_tokens = 512, candidates = 0}",
    "member.nano={parent = 'mini', compute = '9/10'}",
    "quantize={q4_0 = {samples = 8, distill = {tokens = 512, batch_tokens = 512, candidates = 0}}}",
    "measure={max_examples = 3, max_new_tokens = 3, resamples = 20}",
)


@pytest.fixture(autouse=True)
def _far():
    with faraway():
        yield


def far(decoder):
    return placed(decoder, FAR)


def close(one, other):
    torch.testing.assert_close(one.cpu(), other, rtol=1e-4, atol=1e-5)


def replied(rows, length, seed):
    """Rows whose second documents end with a reply."""
    batch = documents(rows, length, seed=seed)
    return replace(batch, replies=(batch.positions >= 3) & (batch.documents == 1), weights=torch.ones(rows, length))


def test_what_mixes_devices_is_refused():
    there, here = torch.ones(3, device=FAR), torch.ones(3)
    assert (there + torch.tensor(1.0)).tolist() == [2.0, 2.0, 2.0]
    with pytest.raises(MixedDevices):
        there + here
    with pytest.raises(MixedDevices):
        here.add_(there)
    with pytest.raises(MixedDevices):
        torch.tensor(0.0).add_(there.sum())
    with pytest.raises(MixedDevices):
        there[torch.tensor([0, 1])] = torch.ones(2)
    with pytest.raises(MixedDevices):
        here[torch.tensor([0], device=FAR)]
    with pytest.raises(TypeError):
        there.numpy()


@pytest.mark.parametrize("config", SHAPES.values(), ids=SHAPES.keys())
def test_loss_and_gradient_are_the_cpus(config):
    rows, here = documents(3, 16, config), decoder_of(config)
    there = far(decoder_of(config))
    loss, far_loss = (sum(NextToken().losses(d, rows.to(d.device)).values()) for d in (here, there))
    loss.backward()
    far_loss.backward()
    assert far_loss.device == FAR
    close(far_loss.detach(), loss.detach())
    for one, other in zip(there.parameters(), here.parameters(), strict=True):
        assert one.grad.device == FAR
        close(one.grad.cpu().to_dense(), other.grad.to_dense())


@pytest.mark.parametrize("decoding", DECODINGS.values(), ids=DECODINGS.keys())
def test_answers_are_the_cpus(decoding):
    for config in (TINY, SHAPES["shared keys"]):
        decoders = decoder_of(config), far(decoder_of(config))
        answers = [decode(decoder, PROMPTS, decoding, torch_generator(1, "a")) for decoder in decoders]
        assert answers[0] == answers[1]


def test_choices_among_replies_are_the_cpus():
    here, there = decoder_of(), far(decoder_of())
    said = [[40, 41], [50, 51, 52], [60]]
    for one, other in zip(
        reply_log_probabilities(there, PROMPTS[0], said), reply_log_probabilities(here, PROMPTS[0], said), strict=True
    ):
        close(one, other)
    rows = replies([2, 6], said)
    one, other = (
        likeness(read(decoder, PROMPTS).hidden, embedded(decoder, rows.to(decoder.device))) for decoder in (there, here)
    )
    close(one, other)


def trained(folder, device, steps=4, dtype=torch.float32, dropout=0.0):
    """A training with a teacher and replies told apart, that saves after every step and looks after every second."""
    decoder = placed(decoder_of(), device)
    teacher = placed(decoder_of(replace(TINY, hidden_size=48), seed=5), device)
    decoder.dropout.p = dropout
    optimizers = Optimizers(decoder, Schedule(peak=0.01, steps=4, warmup=0.2, decay=0.5), 0.05, 1.0, dtype)
    candidates = Candidates(folder, 2)
    objective = Distill(
        teacher=Teacher(decoder=teacher, kept_hidden=tuple(range(32))),
        truth_share=0.3,
        hidden_weight=0.1,
        replying=Replying(opening=(2, 6), weight=0.5),
    )
    run = Run(
        title="far",
        steps=steps,
        batch_at=lambda step: replied(4, 16, step),
        batch_tokens=64,
        held_out=lambda model: {"a": held_out_loss(model, iter([documents(2, 16)]))},
        offer=lambda model, point: candidates.offer(model, point.step, point.held_out),
        look_every=2,
        save_seconds=0.0,
        dtype=dtype,
        seed=1,
    )
    reached = fit(decoder, objective, optimizers, run, States(folder, lambda said: None), lambda *_: None)
    return decoder, reached, candidates


def test_a_training_is_the_cpus_and_goes_on_where_it_stopped(tmp_path):
    _, reached, _ = trained(tmp_path / "here", torch.device("cpu"))
    trained(tmp_path / "there", FAR, steps=2)
    there, resumed, candidates = trained(tmp_path / "there", FAR)
    assert all(parameter.device == FAR for parameter in there.parameters())
    assert len(resumed.curve) == len(reached.curve) == 2
    for one, other in zip(resumed.curve, reached.curve, strict=True):
        assert one.loss == pytest.approx(other.loss, rel=1e-3)
        assert one.held_out == pytest.approx(other.held_out, rel=1e-3)
    kept = candidates.keep_best(there, lambda model: len(generate(model, PROMPTS, 3)))
    assert kept.name.startswith("mean of steps")
    assert all(parameter.device == FAR for parameter in there.parameters())


def test_a_training_with_dropout_and_narrow_products_runs(tmp_path):
    _, reached, _ = trained(tmp_path / "far", FAR, steps=2, dtype=torch.bfloat16, dropout=0.1)
    assert reached.steps == 2


def test_a_member_begins_there_and_is_saved_and_loaded(tmp_path):
    tmp_path.joinpath("one").mkdir()
    save(decoder_of(), tmp_path / "one")
    parent = far(load(tmp_path / "one").eval())
    rows = mixture(tmp_path / "rows")
    smaller = replace(TINY, hidden_size=24, hidden_size_per_layer_input=8, intermediate_size=32)
    scores = [importance(decoder, [rows.batch(0), rows.batch(1)]) for decoder in (parent, decoder_of())]
    close(scores[0].hidden, scores[1].hidden)
    child = far(cut(parent, smaller, choose(scores[0], TINY, smaller)))
    tmp_path.joinpath("two").mkdir()
    save(child, tmp_path / "two")
    again = far(in_memory(load(tmp_path / "two")))
    assert generate(again, PROMPTS, 4) == generate(child, PROMPTS, 4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_rows_of_a_table_are_moved_as_on_the_cpu(dtype):
    tables = []
    for device in (FAR, torch.device("cpu")):
        table = torch.nn.Parameter(torch.arange(12.0).view(4, 3).to(device, dtype))
        optimizer = RowAdam(table, (0.9, 0.95))
        optimizer.step(row_gradient(table), 0.1)  # nothing was looked up
        for rows in ([1, 3], [3, 0]):
            chosen = torch.tensor(rows, device=device)
            functional.embedding(chosen, table, sparse=True).sum().backward()
            optimizer.step(row_gradient(table), 0.1)
            table.grad = None
        tables.append(table.detach())
    close(*tables)


def test_own_answers_are_the_cpus(tmp_path):
    told = []
    for name, decoder in (("here", decoder_of()), ("there", far(decoder_of()))):
        rows = mixture(tmp_path / name, length=32)
        own = OwnAnswers(
            student=decoder, rows=rows, folder=tmp_path / name / "own", share=0.5, max_new_tokens=4, seed=1, end=5
        )
        told.append(own.batch(0))
    assert torch.equal(told[0].tokens, told[1].tokens)


def test_the_pretended_device_has_computed():
    sum(NextToken().losses(far(decoder_of()), documents(2, 16).to(FAR)).values()).backward()
    assert {"aten::mm", "aten::embedding", "aten::_sparse_coo_tensor_with_dims_and_tensors"} <= Far.seen


def test_a_whole_family_is_built_and_examined_there(tmp_path, monkeypatch):
    monkeypatch.setattr("minikin.family.site.device_of", lambda asked: FAR)
    made = site(tmp_path, *FAMILY)
    report = build(made.recipe, tmp_path, made.log)
    assert [member.training.tokens for member in report.members.values()] == [1024, 1024, 0]
    assert report.members["nano"].scores["translation"]["bleu"].n == 3


def test_a_compiled_pass_is_given_all_it_needs_there(monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda run, **_: run)
    rows, here, there = documents(3, 16), decoder_of(), far(decoder_of())
    there.compiled = CompiledPass(there, (3, 16))
    losses = [NextToken().losses(decoder, rows.to(decoder.device))["truth"].detach() for decoder in (there, here)]
    close(*losses)
