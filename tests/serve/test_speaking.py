"""Answers in the server's loop, of an engine that says what it is told to: every end that one can come to."""

import asyncio

import pytest

from minikin.base.errors import BusyError
from minikin.engine.asking import Ask, Ended, Load, Ticket, Token
from minikin.serve import speaking as module
from minikin.serve.events import streamed
from minikin.serve.house import House, Served
from minikin.serve.metrics import Metrics
from minikin.serve.refusal import Refusal
from minikin.serve.speaking import speaking


class Scripted:
    """An engine that says a script to each ask, the next to the next; "busy" refuses it."""

    name, context, vocab_size, room = "scripted", 64, 300, 4

    def __init__(self, *scripts):
        self.scripts, self.left = list(scripts), []

    def ask(self, ask, listener):
        script = self.scripts.pop(0)
        if script == "busy":
            raise BusyError("2 questions wait already; ask again later")
        for said in script:
            listener(said)
        return Ticket(cancel=lambda: self.left.append(ask.seed))

    def load(self):
        return Load(running=0, waiting=0, slots=4)

    def close(self):
        pass


def words(*texts, ended=None):
    tokens = [Token(id=number, text=text) for number, text in enumerate(texts)]
    return [*tokens, ended or Ended(reason="length", tokens=len(texts))]


def asked(engine, stops=()):
    """All pieces of as many answers as there are scripts, in their order, and the counters at the end."""
    member = Served(name="scripted", engine=engine, tokenizer=None)
    metrics = Metrics(House([member]))

    async def pieces():
        asks = [Ask(prompt=(1, 2, 3), max_tokens=9, seed=number) for number in range(len(engine.scripts))]
        with speaking(member, asks, stops, metrics) as answers:
            return [found async for found in answers.pieces()]

    try:
        found = asyncio.run(pieces())
    except Refusal as refusal:
        found = refusal
    return found, metrics.text().decode()


def text_of(pieces, index=0):
    return "".join(piece.text for number, piece in pieces if number == index)


def end_of(pieces, index=0):
    last = [piece for number, piece in pieces if number == index][-1]
    return last.finish, last.count


def test_what_comes_together_is_one_piece():
    pieces, counters = asked(Scripted(words("a", "b", "c")))
    assert [piece.text for _, piece in pieces] == ["abc"]
    assert end_of(pieces) == ("length", 3)
    assert 'minikin_tokens_total{kind="prompt",member="scripted"} 3.0' in counters
    assert 'minikin_tokens_total{kind="answer",member="scripted"} 3.0' in counters
    assert 'minikin_answer_seconds_count{member="scripted"} 1.0' in counters


def test_a_stop_sequence_ends_its_answer_and_leaves_the_engine_free():
    engine = Scripted(words("one ", "EN", "D two", "three"), words("x", "y"))
    pieces, counters = asked(engine, ["END"])
    assert (text_of(pieces), end_of(pieces)) == ("one ", ("stop", 3))
    assert (text_of(pieces, 1), end_of(pieces, 1)) == ("xy", ("length", 2))
    assert sorted(engine.left) == [0, 1]
    assert 'minikin_tokens_total{kind="answer",member="scripted"} 5.0' in counters


def test_tokens_that_are_not_told_are_counted():
    character = Token(id=5, text="ö", count=3)
    stopped, counters = asked(Scripted([character, Token(id=6, text="END")]), ["END"])
    assert (text_of(stopped), end_of(stopped)) == ("ö", ("stop", 4))
    assert 'minikin_tokens_total{kind="answer",member="scripted"} 4.0' in counters
    ended, counters = asked(Scripted([character, Ended(reason="length", tokens=5)]))
    assert end_of(ended) == ("length", 5)
    assert 'minikin_tokens_total{kind="answer",member="scripted"} 5.0' in counters


@pytest.mark.parametrize("reason", ["failed", "cancelled"])
def test_an_answer_that_breaks_off_ends_the_request_and_its_others(reason, capsys):
    engine = Scripted(words("a", ended=Ended(reason=reason, tokens=1, problem="it died")), words("b"))
    refusal, counters = asked(engine)
    assert (refusal.status, refusal.code) == (503, "engine_unavailable")
    assert "it died" not in refusal.message  # it may tell of the machine
    assert "it died" in capsys.readouterr().err
    assert sorted(engine.left) == [0, 1]
    assert 'minikin_answer_seconds_count{member="scripted"} 0.0' in counters


def test_where_one_is_refused_none_is_begun():
    engine = Scripted(words("a"), words("b"), "busy")
    refusal, counters = asked(engine)
    assert refusal.status == 429
    assert sorted(engine.left) == [0, 1]
    assert 'kind="prompt"' not in counters


def test_more_than_there_is_ever_room_for_is_no_matter_of_waiting():
    engine = Scripted(*(words("a") for _ in range(5)))
    refusal, _ = asked(engine)
    assert (refusal.status, refusal.param) == (400, "n")
    assert "5 answers are asked for at once, and there is room for 4" in refusal.message


def test_a_request_has_a_deadline_whatever_it_hears(monkeypatch):
    monkeypatch.setattr(module, "LONGEST", -1.0)
    engine = Scripted(words(*("a" for _ in range(50))))
    refusal, _ = asked(engine)
    assert refusal.status == 504
    assert engine.left == [0]


@pytest.mark.parametrize("begun", [True, False])
def test_a_stream_that_nobody_takes_closes_its_events(begun):
    closed = []

    async def events():
        try:
            for number in range(10**6):
                yield f"data: {number}\n\n"
        finally:
            closed.append(True)

    async def send(message):
        if not begun or message["type"] == "http.response.body":
            await asyncio.Event().wait()  # nobody reads

    async def receive():
        await asyncio.Event().wait()

    async def left():
        stream = await streamed(events())
        going = asyncio.ensure_future(stream({"type": "http", "asgi": {"spec_version": "2.4"}}, receive, send))
        await asyncio.sleep(0.01)
        going.cancel()
        await asyncio.wait([going])
        assert closed == [True]  # at once, not when memory is looked through

    asyncio.run(left())
