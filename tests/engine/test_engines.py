"""Both engines say to each of many what they would say to it alone, and free the place of who leaves."""

import threading
import time
from contextlib import nullcontext
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from fakes import TINY, Heard, member

from minikin.base.errors import AskError, BusyError, EngineError
from minikin.engine import child as child_module
from minikin.engine import llamacpp_engine, next_token, torch_engine
from minikin.engine.asking import Ask, Load
from minikin.engine.llamacpp_engine import LlamaCppEngine
from minikin.engine.prompts import Prompts
from minikin.engine.torch_engine import TorchEngine
from minikin.model.checkpoint import load
from minikin.model.generate import generate
from minikin.ship.gguf import export

LONG = replace(TINY, max_position_embeddings=1024)
# no bytes that are but a part of a character: llama.cpp tells them only once it is whole
WHOLE = dict.fromkeys(range(6 + 128, 6 + 256), -1e9)
NEAR = 1e-2  # llama.cpp remembers keys and values in float16
PROMPTS = [tuple(range(10, 10 + length)) for length in (3, 30, 1, 12, 7, 40)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("engine") / "member"
    member(path, LONG)
    return path


@pytest.fixture(scope="module")
def file(folder):
    return export(folder, None, "f32").path


@pytest.fixture(params=["torch", "llama.cpp"])
def opened(request, folder, file):
    """Makes engines of a kind, which are closed in the end."""
    made = []

    def begin(slots, queue):
        kind = request.param
        made.append(
            TorchEngine(folder, slots=slots, queue=queue)
            if kind == "torch"
            else LlamaCppEngine(folder, file, slots=slots, queue=queue)
        )
        return made[-1]

    yield begin
    for engine in made:
        engine.close()


@pytest.fixture
def engine(opened):
    return opened(3, 8)


def answer(engine, **asked):
    heard = Heard()
    engine.ask(Ask(**({"prompt": PROMPTS[0], "max_tokens": 10} | asked)), heard)
    heard.wait()
    return heard


def until(condition):
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def endless(engine, prompt=PROMPTS[0], seed=0):
    """An answer that goes on until the context is full: its end tokens are forbidden."""
    heard, bias = Heard(), dict.fromkeys(TINY.eos_token_ids, -1e9)
    return engine.ask(Ask(prompt=prompt, max_tokens=10_000, logit_bias=bias, seed=seed), heard), heard


def test_an_answer_is_the_likeliest_tokens(folder):
    engine = TorchEngine(folder)
    for prompt in PROMPTS:
        said = answer(engine, prompt=prompt)
        assert said.wait() == generate(load(folder).eval(), [list(prompt)], 10)[0]
        assert said.end.reason == ("length" if len(said.wait()) == 10 else "stop")
    engine.close()


def test_members_take_turns(folder):
    said = []
    engines = [TorchEngine(folder, slots=1) for _ in range(2)]
    heard = [Heard() for _ in engines]
    bias = dict.fromkeys(TINY.eos_token_ids, -1e9)
    for number, engine in enumerate(engines):

        def listen(told, number=number):
            said.append(number)
            heard[number](told)

        engine.ask(Ask(prompt=PROMPTS[0], max_tokens=300, logit_bias=bias), listen)
    assert heard[0].wait() == heard[1].wait()
    for engine in engines:
        engine.close()
    begun, ended = said.index(1), len(said) - 1 - said[::-1].index(0)
    both = said[begun:ended]
    assert len(both) > 200
    # a turn that reads a prompt tells its first token and the next
    assert all(one != other for one, other in pairwise(both[2:]))


def test_many_at_once_are_answered_as_each_alone(folder, engine):
    alone = TorchEngine(folder)
    asked = [{"prompt": prompt, "max_tokens": 12, "logit_bias": WHOLE} for prompt in PROMPTS]
    expected = [answer(alone, **each) for each in asked]
    alone.close()
    heard = [Heard() for _ in PROMPTS]
    for each, listener in zip(asked, heard, strict=True):
        engine.ask(Ask(**each), listener)
    assert [listener.wait() for listener in heard] == [each.wait() for each in expected]
    assert [listener.text for listener in heard] == [each.text for each in expected]
    assert [(each.end.reason, each.end.tokens) for each in heard] == [
        (each.end.reason, len(each.tokens)) for each in expected
    ]
    assert engine.load() == Load(running=0, waiting=0, slots=3)


def test_a_seed_draws_the_same_whoever_else_speaks(engine):
    drawn = {"temperature": 1.0, "top_k": 50, "seed": 7}
    alone = answer(engine, **drawn).wait()
    others = [endless(engine, prompt, seed)[0] for seed, prompt in enumerate(PROMPTS[:2])]
    assert answer(engine, **drawn).wait() == alone
    assert answer(engine, **(drawn | {"seed": 8})).wait() != alone
    for ticket in others:
        ticket.cancel()


def test_log_probabilities_are_the_models_own(engine, folder):
    told = answer(engine, logprobs=3, logit_bias={50: 1e9}, max_tokens=2)
    decoder, tokens = load(folder).eval(), torch.tensor([[*PROMPTS[0], 50]])
    with torch.no_grad():
        hidden = decoder(tokens, torch.arange(tokens.shape[1])[None], torch.zeros_like(tokens))
        expected = torch.log_softmax(decoder.logits(hidden[0, -2:]), -1)
    for token, shares in zip(told.tokens, expected, strict=True):
        assert token.id == 50
        assert token.logprob == pytest.approx(float(shares[50]), abs=NEAR)
        assert [id for id, _ in token.likeliest] == shares.topk(3).indices.tolist()
        assert [share for _, share in token.likeliest] == pytest.approx(shares.topk(3).values.tolist(), abs=NEAR)


def test_penalties_keep_from_saying_again(engine):
    free = answer(engine, logit_bias={60: 100.0, 61: 99.0}).wait()
    assert set(free) == {60}
    assert answer(engine, logit_bias={60: 100.0, 61: 99.0}, presence_penalty=50.0).wait()[:2] == [60, 61]
    counted = answer(engine, logit_bias={60: 200.0, 61: 150.0}, frequency_penalty=20.0).wait()
    assert counted[:4] == [60, 60, 60, 61]


def test_who_leaves_frees_the_place_at_once(engine):
    asked = [endless(engine, prompt) for prompt in PROMPTS[:5]]
    until(lambda: engine.load() == Load(running=3, waiting=2, slots=3))
    begun = time.monotonic()
    for ticket, _ in asked:
        ticket.cancel()
    for _, heard in asked:
        heard.wait()
    assert time.monotonic() - begun < 1.0
    assert engine.load() == Load(running=0, waiting=0, slots=3)
    assert {heard.end.reason for _, heard in asked} == {"cancelled"}


@pytest.mark.parametrize(
    "strange", [{"temperature": 1e-46}, {"temperature": 1.0, "top_p": 1e-46}, {"temperature": 5e-324}]
)
def test_the_smallest_settings_are_the_likeliest_tokens(engine, strange):
    assert answer(engine, **strange).wait() == answer(engine).wait()


def test_places_are_for_as_many_as_there_are(opened):
    engine = opened(2, 0)
    asked = [endless(engine) for _ in range(2)]
    with pytest.raises(BusyError):
        endless(engine)
    for ticket, heard in asked:
        ticket.cancel()
        heard.wait()
    assert len(answer(engine).wait()) > 0


def test_a_full_queue_and_a_closed_engine_say_so(opened):
    engine = opened(1, 2)
    asked = [endless(engine) for _ in range(3)]
    with pytest.raises(BusyError, match="questions wait already"):
        endless(engine)
    engine.close()
    assert [heard.end.reason for _, heard in asked] == ["cancelled"] * 3
    with pytest.raises(EngineError, match="closed"):
        endless(engine)


def test_what_cannot_be_answered_is_told_with_both_numbers(engine):
    with pytest.raises(AskError, match="has 1024 tokens, and the context of this member is 1024"):
        engine.ask(Ask(prompt=(9,) * 1024, max_tokens=1), Heard())
    with pytest.raises(AskError, match="token 300: this member knows ids from 0 to 299"):
        engine.ask(Ask(prompt=(9, 300), max_tokens=1), Heard())
    with pytest.raises(AskError, match="empty"):
        engine.ask(Ask(prompt=(), max_tokens=1), Heard())
    with pytest.raises(AskError, match="the seed is 18446744073709551616; it needs to be at least"):
        engine.ask(Ask(prompt=(9,), max_tokens=1, seed=1 << 64), Heard())


def test_a_bias_may_be_a_whole_number(engine):
    assert answer(engine, logit_bias={60: 500}).wait()[:2] == [60, 60]


def test_an_answer_ends_where_the_context_does(engine):
    prompt = tuple(range(10, 280)) * 3  # read in four pieces
    _, heard = endless(engine, prompt)
    heard.wait()
    assert heard.end.reason == "length"
    assert heard.end.tokens == LONG.max_position_embeddings - len(prompt)


def test_an_engine_that_fails_leaves_nobody_waiting_and_answers_whoever_comes_next(folder, monkeypatch):
    engine = TorchEngine(folder, slots=1, queue=1)
    expected = answer(engine).wait()
    with monkeypatch.context() as broken:
        broken.setattr(engine, "_step", lambda *_: 1 / 0)
        for _ in range(3):  # so that none of them keeps a place
            _, heard = endless(engine)
            heard.wait()
            assert (heard.end.reason, heard.end.problem) == ("failed", "division by zero")
    assert answer(engine).wait() == expected
    assert engine.load() == Load(running=0, waiting=0, slots=1)
    engine.close()


@pytest.mark.parametrize("where", ["take", "Prompts"])
def test_an_engine_that_fails_before_the_first_token_leaves_nobody_waiting(folder, monkeypatch, where):
    engine = TorchEngine(folder)
    broken = (engine._slots, "take") if where == "take" else (torch_engine, "Prompts")
    monkeypatch.setattr(*broken, lambda *_: 1 / 0)
    _, heard = endless(engine)
    heard.wait()
    assert (heard.end.reason, heard.end.problem) == ("failed", "division by zero")


def test_who_leaves_while_being_read_has_left_before_it_is_told(folder, monkeypatch):
    engine, reading, more = TorchEngine(folder, slots=1, queue=0), threading.Event(), threading.Event()
    plain = Prompts.read_on

    def read_on(prompts):
        reading.set()
        more.wait(10)
        return plain(prompts)

    monkeypatch.setattr(Prompts, "read_on", read_on)
    ticket, heard = endless(engine, tuple(range(10, 280)) * 3)
    reading.wait(10)
    ticket.cancel()
    more.set()
    heard.wait()
    assert (heard.end.reason, heard.end.tokens) == ("cancelled", 0)
    assert engine.load() == Load(running=0, waiting=0, slots=1)
    assert len(answer(engine).wait()) > 0
    engine.close()


def test_what_fails_for_one_touches_nobody_else(folder, monkeypatch):
    engine = TorchEngine(folder)
    expected = answer(engine).wait()
    plain = next_token.Choice.of

    def of(choice, scores):
        return 1 / 0 if choice._ask.temperature == 0.25 else plain(choice, scores)

    monkeypatch.setattr(next_token.Choice, "of", of)
    other, heard = endless(engine)
    failed = answer(engine, temperature=0.25)
    assert (failed.end.reason, failed.end.problem) == ("failed", "division by zero")
    assert answer(engine).wait() == expected
    assert heard.end is None
    other.cancel()
    assert engine.load().alive
    engine.close()


@pytest.mark.parametrize(("weights", "threads", "together"), [(1e5, 8, 1), (8e6, 8, 2), (1e9, 8, 8), (1e9, 1, 1)])
def test_small_members_write_several_answers_with_fewer_threads(weights, threads, together):
    assert llamacpp_engine.threads_together(int(weights), threads) == together


class Broken:
    """A reply of llama.cpp that nobody has foreseen."""

    status = 200

    def __init__(self, *lines):
        self.lines = lines

    def __iter__(self):
        return iter(self.lines)


@pytest.mark.parametrize("line", [b'data: {"error": {"message": "no"}}', b"data: {", b"data: []", b"error: no", b""])
def test_what_llama_cpp_never_said_before_ends_the_answer_and_no_more(folder, file, monkeypatch, line):
    engine = LlamaCppEngine(folder, file, slots=1)
    with monkeypatch.context() as patched:
        patched.setattr(llamacpp_engine._Running, "posted", lambda *_: nullcontext(Broken(line)))
        heard = answer(engine)
        assert heard.end.reason == "failed"
    assert len(answer(engine).wait()) > 0
    engine.close()


def test_whatever_is_raised_while_llama_cpp_is_asked_ends_the_answer_and_no_more(folder, file, monkeypatch):
    engine = LlamaCppEngine(folder, file, slots=1)

    def interrupted(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(llamacpp_engine._Running, "posted", interrupted)
        assert answer(engine).end.reason == "failed"
    assert len(answer(engine).wait()) > 0
    engine.close()


def test_a_process_that_dies_is_told_and_replaced(folder, file):
    engine = LlamaCppEngine(folder, file, slots=2)
    before = answer(engine).wait()
    _, heard = endless(engine)
    until(lambda: heard.tokens)
    engine._child._process.kill()
    heard.wait()
    assert (heard.end.reason, heard.end.problem) == ("failed", "llama.cpp died (signal 9)")
    assert answer(engine).wait() == before
    engine.close()
    assert engine._child._process.returncode == 0


def test_a_process_that_is_only_starting_is_ended_with_the_engine(folder, file, monkeypatch):
    engine = LlamaCppEngine(folder, file, slots=1)
    child, said = engine._child, child_module.Child._said

    def slow(self, process):
        time.sleep(0.3)  # what reading a large file takes
        return said(self, process)

    monkeypatch.setattr(child_module.Child, "_said", slow)
    child._process.kill()
    child._process.wait()
    _, heard = endless(engine)
    until(lambda: child._starting is not None)
    begun = time.monotonic()
    engine.close()
    assert heard.end.reason == "cancelled"
    assert time.monotonic() - begun < 3
    with pytest.raises(EngineError, match="closed"):
        child.address()


def test_nothing_of_the_current_folder_is_run(folder, file, tmp_path, monkeypatch):
    (tmp_path / "json.py").write_text("open('was-run', 'w').close()\n")
    monkeypatch.chdir(tmp_path)
    LlamaCppEngine(folder.resolve(), file.resolve(), slots=1).close()
    assert not (tmp_path / "was-run").exists()


def test_a_file_that_llama_cpp_refuses_is_one_line(folder, tmp_path):
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF" + bytes(100))
    with pytest.raises(EngineError, match=r"broken\.gguf: llama\.cpp cannot load it"):
        LlamaCppEngine(folder, broken)
