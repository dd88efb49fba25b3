"""llama.cpp as an engine: it runs in a process of its own, and every ask is a request to it there.

It says the same as PyTorch does here with the same settings, but for rounding, and is several times faster.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from socket import SHUT_RDWR, socket
from threading import Thread
from time import sleep
from typing import Any, final
from urllib.parse import urlsplit

from minikin.base.errors import in_a_line
from minikin.engine.asking import Ask, Ended, Listener, Load, Reason, Ticket, Token, fitting
from minikin.engine.child import Child
from minikin.engine.line import Line
from minikin.model.checkpoint import read_config

# in the order of Transformers: what may be drawn is decided after the temperature
_ORDER = ["penalties", "temperature", "top_k", "top_p", "min_p"]
# the likeliest token: temperature 0 would go through all of a vocabulary several times
_LIKELIEST = {"samplers": ["penalties", "top_k"], "top_k": 1}
_ENDINGS: Mapping[str, Reason] = {"eos": "stop", "word": "stop", "limit": "length"}
_BEAT = 0.002  # seconds
_SEEDS = (1 << 32) - 1  # one more would be a seed that means any
_WEIGHTS_A_THREAD = 4e6


class _Unhurried(socket):
    """Once it reads `by_beats`, what came meanwhile is read at once.

    Small members write a token in less time than it takes to wake up for one, on cores that llama.cpp needs itself.
    """

    by_beats = False

    def recv_into(self, *given: Any) -> int:  # what HTTPResponse reads by
        if self.by_beats:
            sleep(_BEAT)
        return super().recv_into(*given)


@dataclass(kw_only=True, eq=False)
class _Running:
    """An ask that is being answered, or waits for it."""

    ask: Ask
    listener: Listener
    cancelled: bool = False
    said: int = 0
    _socket: _Unhurried | None = field(default=None)

    def cancel(self) -> None:
        """Want no more of it: llama.cpp stops when nobody listens."""
        self.cancelled = True
        if (connected := self._socket) is not None:
            with suppress(OSError):  # if it has ended meanwhile
                connected.shutdown(SHUT_RDWR)

    def begun(self) -> None:
        """Its first token is there: the next need no hurry."""
        if (connected := self._socket) is not None:
            connected.by_beats = True

    def end(self, reason: Reason, problem: str = "") -> None:
        """Tell the listener that this was all."""
        self.listener(Ended(reason=reason, tokens=self.said, problem=problem))

    @contextmanager
    def posted(self, address: str, key: str) -> Iterator[HTTPResponse | None]:
        """The beginning of what llama.cpp answers; None if nobody wants it any more."""
        where = urlsplit(address)
        connection = HTTPConnection(where.hostname or "", where.port)
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {key}"}
        try:
            connection.connect()
            connection.sock = self._socket = _Unhurried(fileno=connection.sock.detach())
            if self.cancelled:  # before there was a connection to be closed
                yield None
                return
            connection.request("POST", "/completion", json.dumps(_request(self.ask)), headers)
            yield connection.getresponse()
        finally:
            self._socket = None
            connection.close()


@final
class LlamaCppEngine:
    """One member's GGUF file; `slots` asks are answered at a time, `queue` more wait."""

    name = "llama.cpp"

    def __init__(self, member: Path, file: Path, *, slots: int = 8, queue: int = 64, threads: int = 1) -> None:
        config = read_config(member)
        self.context, self.vocab_size = config.max_position_embeddings, config.vocab_size
        self._ends = config.eos_token_ids
        self._child = Child(
            file,
            slots=slots,
            context=self.context,
            threads=threads,
            together=threads_together(config.multiplied, threads),
            memory=slots * self.context * config.kv_bytes_per_token(),
        )
        self.room = slots + queue
        self._line = Line[_Running](self.room)
        self._running: set[_Running] = set()
        self._workers = [Thread(target=self._work, daemon=True) for _ in range(slots)]
        for worker in self._workers:
            worker.start()

    def ask(self, ask: Ask, listener: Listener) -> Ticket:
        """Begin to answer; raises AskError if it cannot be answered, BusyError if too many wait already."""
        running = _Running(ask=fitting(ask, self.context, self.vocab_size), listener=listener)
        self._line.enter(running)
        return Ticket(cancel=lambda: self._cancel(running))

    def load(self) -> Load:
        """How busy it is now."""
        slots = len(self._workers)
        alive = self._line.open and not self._child.failed
        return Load(running=len(self._running), waiting=len(self._line), slots=slots, alive=alive)

    def close(self) -> None:
        """Answer no more; whoever waits hears that it was cancelled."""
        for each in self._line.close():
            each.end("cancelled")
        for each in list(self._running):
            each.cancel()
        self._child.close()  # a worker may wait for it to start
        for worker in self._workers:
            worker.join()

    def _cancel(self, running: _Running) -> None:
        """Who still waits is told at once."""
        running.cancel()
        if self._line.step_out(running):
            running.end("cancelled")

    def _work(self) -> None:
        while (running := self._line.next()) is not None:
            self._running.add(running)
            if not self._line.open:
                running.cancel()
            try:
                reason, problem = self._answered(running)
            except BaseException as error:  # noqa: BLE001  whatever llama.cpp sends, its asker must hear of an end
                reason, problem = "failed", in_a_line(error)
            if running.cancelled:
                reason, problem = "cancelled", ""
            elif reason == "failed":
                problem = self._child.died() or problem
            self._running.discard(running)
            self._line.done()
            running.end(reason, problem)

    def _answered(self, running: _Running) -> tuple[Reason, str]:
        with running.posted(self._child.address(), self._child.key) as reply:
            if reply is None:
                return "cancelled", ""
            if reply.status != HTTPStatus.OK:
                return "failed", " ".join(reply.read().decode(errors="replace").split())
            for told in _events(reply):
                running.begun()
                if problem := told.get("error"):
                    return "failed", str(problem.get("message", problem))
                # it counts those that it keeps silent on, until the bytes of their character are all there
                fresh, running.said = told["tokens_predicted"] - running.said, told["tokens_predicted"]
                if told["stop"]:
                    reason = _ENDINGS[told["stop_type"]]
                    running.said -= reason == "stop"
                    return reason, ""
                if told["tokens"] and told["tokens"][0] not in self._ends:
                    running.listener(_token(told, fresh, running.ask.logprobs or 0))
        return "failed", "llama.cpp broke off"


def threads_together(weights: int, threads: int) -> int:
    """How many threads read prompts, and write several answers at once, with a member of so many multiplied weights.

    Small ones give a thread too little to do until all wait for each other again, and who serves needs the core.
    """
    return max(1, min(threads, int(weights / _WEIGHTS_A_THREAD)))


def _events(reply: HTTPResponse) -> Iterator[Any]:
    """The server-sent events of an answer."""
    for line in reply:
        if line.startswith(b"data: "):
            yield json.loads(line[len(b"data: ") :])
        elif line.startswith(b"error: "):
            raise ValueError(line.decode(errors="replace"))


def _token(told: Mapping[str, Any], count: int, likeliest: int) -> Token:
    shares = next(iter(told.get("completion_probabilities", ())), {})
    best = tuple((each["id"], each["logprob"]) for each in shares.get("top_logprobs", ()))
    return Token(
        id=told["tokens"][0],
        text=told["content"],
        logprob=shares.get("logprob"),
        likeliest=best[:likeliest],
        count=count,
    )


def _request(ask: Ask) -> dict[str, Any]:
    """An ask as llama.cpp has it."""
    return {
        "prompt": list(ask.prompt),
        "n_predict": ask.max_tokens,
        "stream": True,
        "return_tokens": True,
        "samplers": _ORDER,
        "temperature": ask.temperature,
        "top_k": ask.top_k,
        "top_p": ask.top_p,
        "min_p": ask.min_p,
        "repeat_last_n": len(ask.prompt) + ask.max_tokens,  # all of it
        "repeat_penalty": ask.repetition_penalty,
        "presence_penalty": ask.presence_penalty,
        "frequency_penalty": ask.frequency_penalty,
        "logit_bias": [[token, bias] for token, bias in ask.logit_bias.items()],
        "seed": ask.seed % _SEEDS,
        # what others asked before must not change an answer, nor be told by how soon it comes
        "cache_prompt": False,
        # it tells the chosen token's own share only beside at least one other
        "n_probs": 0 if ask.logprobs is None else max(1, ask.logprobs),
        **({} if ask.temperature else _LIKELIEST),
    }
