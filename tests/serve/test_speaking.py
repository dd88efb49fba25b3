"""Answers in the server's loop, of an engine that says what it is told to: every end that one can come to."""

import asyncio
import json
from threading import current_thread

import pytest

from minikin.base.errors import BusyError
from minikin.engine.asking import Ask, Ended, Load, Ticket, Token
from minikin.serve import speaking as module
from minikin.serve.chat import answer_chat
from minikin.serve.completions import answer_completion
from minikin.serve.events import streamed
from minikin.serve.fields import ChatRequest, CompletionRequest
from minikin.serve.house import House, Served
from minikin.serve.metrics import Metrics
from minikin.serve.refusal import Refusal
from minikin.serve.speaking import Piece, speaking
from minikin.serve.whole import whole_answer
from minikin.text.tokenizer import Tokenizer


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


TOKENIZER = Tokenizer.train(["a a a"], 280)
PIECE, BYTE, PART = TOKENIZER.encode("a")[0], 6 + ord("a"), 6 + 0xC3
LIKELIEST = ((PIECE, -0.5), (TOKENIZER.eos_id, -1.0), (BYTE, -1.5), (TOKENIZER.turn_end_id, -2.0), (PART, -2.5))


def answered(how, fields, script, **more):
    """The body of what a route answers, when the engine says the script."""
    member = Served(name="scripted", engine=Scripted(script), tokenizer=TOKENIZER)

    async def body():
        reply = await how(member, fields(model="scripted", **more), Metrics(House([member])))
        if not hasattr(reply, "body_iterator"):
            return reply.body.decode()
        return "".join([part async for part in reply.body_iterator])

    return asyncio.run(body())


def events_of(body):
    return [json.loads(line.removeprefix("data: ")) for line in body.split("\n\n") if line.startswith("data: {")]


@pytest.mark.parametrize("said", [PIECE, BYTE])
def test_likely_tokens_are_told_apart_by_their_names(said):
    assert PIECE != BYTE
    share = dict(LIKELIEST)[said]
    script = [Token(id=said, text="a", logprob=share, likeliest=LIKELIEST), Ended(reason="length", tokens=1)]
    told = json.loads(answered(answer_completion, CompletionRequest, script, prompt="a", logprobs=5))
    found = told["choices"][0]["logprobs"]
    assert (found["tokens"], found["token_logprobs"]) == (["a"], [share])
    # of two tokens that are written "a", the likelier
    assert found["top_logprobs"] == [{"a": -0.5, "<eos>": -1.0, "<turn|>": -2.0, "bytes:\\xc3": -2.5}]
    asked = {"messages": [{"role": "user", "content": "a"}], "logprobs": True, "top_logprobs": 5}
    told = json.loads(answered(answer_chat, ChatRequest, script, **asked))
    (found,) = told["choices"][0]["logprobs"]["content"]
    assert [each["token"] for each in found["top_logprobs"]] == ["a", "<eos>", "a", "<turn|>", "\ufffd"]
    assert [each["bytes"] for each in found["top_logprobs"]] == [[97], [], [97], [], [0xC3]]


@pytest.mark.parametrize(
    ("how", "fields", "prompt"),
    [
        (answer_completion, CompletionRequest, {"prompt": "a"}),
        (answer_chat, ChatRequest, {"messages": [{"role": "user", "content": "a"}]}),
    ],
)
def test_every_chunk_but_the_last_says_that_nothing_is_counted_yet(how, fields, prompt):
    counted = {"stream_options": {"include_usage": True}}
    chunks = events_of(answered(how, fields, words("a", "b"), stream=True, **prompt, **counted))
    assert len(chunks) > 1
    assert [chunk["usage"] for chunk in chunks[:-1]] == [None] * (len(chunks) - 1)
    assert chunks[-1]["usage"]["completion_tokens"] == 2
    plain = events_of(answered(how, fields, words("a", "b"), stream=True, **prompt))
    assert not [chunk for chunk in plain if "usage" in chunk]


@pytest.mark.parametrize(("tokens", "beside"), [(3, False), (200, True)])
def test_a_large_answer_is_made_beside_the_loop_and_is_the_same(tokens, beside):
    token, threads = Token(id=PIECE, text="ä", logprob=-1.5, likeliest=LIKELIEST * 3), []
    pieces = [Piece(text="ä", tokens=(token,) * tokens)]

    def made():
        threads.append(current_thread())
        return {"text": "ä\n", "logprobs": [LIKELIEST], "usage": None}

    async def body():
        return await whole_answer(pieces, made)

    reply = asyncio.run(body())
    assert (threads[0] is not current_thread()) == beside
    shares = json.dumps(LIKELIEST).replace(" ", "")
    assert reply.body.decode() == f'{{"text":"ä\\n","logprobs":[{shares}],"usage":null}}'
    assert reply.headers["content-type"] == "application/json"
