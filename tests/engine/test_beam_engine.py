"""Beams as an engine: the answer of a search, one after the other, until nobody wants it."""

from asyncio import CancelledError
from dataclasses import replace
from threading import Event, Thread
from time import sleep

import pytest
import torch
from fakes import TINY, Heard, member

from minikin.base.errors import BusyError, EngineError
from minikin.engine import beam_engine
from minikin.engine.asking import Ask, Load
from minikin.engine.beam_engine import BeamEngine
from minikin.engine.computing import later
from minikin.model.checkpoint import load
from minikin.model.decoding import Decoding, decode

LONG = replace(TINY, max_position_embeddings=1024)
PROMPTS = [tuple(range(10, 10 + length)) for length in (3, 30, 1, 12)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("beams") / "member"
    member(path, LONG)
    return path


@pytest.fixture
def engine(folder):
    made = BeamEngine(folder, 3, 0.7, queue=1)
    yield made
    made.close()


def test_an_answer_is_what_beams_find(engine, folder):
    decoding = Decoding(max_new_tokens=12, num_beams=3, length_penalty=0.7)
    expected = decode(load(folder).eval(), PROMPTS, decoding, torch.Generator())
    for prompt, answer in zip(PROMPTS, expected, strict=True):
        heard = Heard()
        engine.ask(Ask(prompt=prompt, max_tokens=12), heard)
        assert heard.wait() == answer
        assert heard.end.reason == ("length" if len(answer) == 12 else "stop")
    assert engine.load() == Load(running=0, waiting=0, slots=1)


@pytest.mark.parametrize("leaving", ["cancel", "close"])
def test_who_leaves_is_searched_for_no_more(engine, leaving, monkeypatch):
    begin, steps, closing = Event(), [], Thread(target=engine.close)
    later(lambda: begin.wait(10))
    first, second = Heard(), Heard()
    tickets = [engine.ask(Ask(prompt=PROMPTS[0], max_tokens=900), heard) for heard in (first, second)]
    with pytest.raises(BusyError):
        engine.ask(Ask(prompt=PROMPTS[0], max_tokens=9), Heard())

    def adjust(log_p, seen):
        steps.append(seen.shape)
        if leaving == "cancel":
            tickets[0].cancel()
        elif len(steps) == 1:
            closing.start()
            while engine.load().alive:
                sleep(0.001)
        return log_p

    monkeypatch.setattr(beam_engine, "repeats_adjusted", lambda *_: adjust)
    if leaving == "cancel":
        tickets[1].cancel()
    begin.set()
    for heard in (first, second):
        heard.wait()
        assert (heard.end.reason, heard.tokens) == ("cancelled", [])
    assert len(steps) == 1
    if leaving == "close":
        closing.join(10)
        with pytest.raises(EngineError):
            engine.ask(Ask(prompt=PROMPTS[0], max_tokens=3), Heard())


class Panic(BaseException):
    """As a native library raises it."""


@pytest.mark.parametrize("error", [ZeroDivisionError, Panic, KeyboardInterrupt, CancelledError])
def test_what_fails_is_told_and_the_next_is_answered(engine, monkeypatch, error):
    def broken_off(*_):
        raise error("division by zero")

    with monkeypatch.context() as broken:
        broken.setattr(beam_engine, "beam_search", broken_off)
        heard = Heard()
        engine.ask(Ask(prompt=PROMPTS[0], max_tokens=3), heard)
        heard.wait()
    assert (heard.end.reason, heard.end.problem) == ("failed", "division by zero")
    again = Heard()
    engine.ask(Ask(prompt=PROMPTS[0], max_tokens=3), again)
    assert len(again.wait()) > 0
