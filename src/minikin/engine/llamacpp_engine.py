"""llama.cpp as an engine: it runs in a process of its own, and every ask is a request to it there.

It says the same as PyTorch does here with the same settings, but for rounding, and is several times faster.
"""

import json
import socket
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException, HTTPResponse
from pathlib import Path
from threading import Condition, Thread
from typing import Any, final
from urllib.parse import urlsplit

from minikin.base.errors import BusyError, EngineError
from minikin.engine.asking import Ask, Ended, Listener, Load, Reason, Ticket, Token, fitting
from minikin.engine.child import Child
from minikin.model.checkpoint import read_config

# in the order of Transformers: what may be drawn is decided after the temperature
_ORDER = ["penalties", "temperature", "top_k", "top_p", "min_p"]
_ENDINGS: Mapping[str, Reason] = {"eos": "stop", "word": "stop", "limit": "length"}


@dataclass(kw_only=True, eq=False)
class _Running:
    """An ask that is being answered, or waits for it."""

    ask: Ask
    listener: Listener
    cancelled: bool = False
    said: int = 0
    _connection: HTTPConnection | None = field(default=None)

    def cancel(self) -> None:
        """Want no more of it: llama.cpp stops when nobody listens."""
        self.cancelled = True
        if self._connection is not None and self._connection.sock is not None:
            with suppress(OSError):  # if it has ended meanwhile
                self._connection.sock.shutdown(socket.SHUT_RDWR)

    def end(self, reason: Reason, problem: str = "") -> None:
        """Tell the listener that this was all."""
        self.listener(Ended(reason=reason, tokens=self.said, problem=problem))

    def posted(self, address: str, key: str) -> HTTPResponse:
        """The beginning of what llama.cpp answers."""
        where = urlsplit(address)
        self._connection = HTTPConnection(where.hostname or "", where.port)
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {key}"}
        self._connection.request("POST", "/completion", json.dumps(_request(self.ask)), headers)
        return self._connection.getresponse()

    def close(self) -> None:
        """Let go of the connection."""
        if self._connection is not None:
            self._connection.close()


@final
class LlamaCppEngine:
    """One member's GGUF file; `slots` asks are answered at a time, `queue` more wait."""

    name = "llama.cpp"

    def __init__(self, member: Path, file: Path, *, slots: int = 8, queue: int = 64, threads: int = 1) -> None:
        self._config = read_config(member)
        self.context = self._config.max_position_embeddings
        memory = slots * self.context * self._config.kv_bytes_per_token()
        self._child = Child(file, slots=slots, context=self.context, threads=threads, memory=memory)
        self._waiting, self._queue = deque[_Running](), queue
        self._running: set[_Running] = set()
        self._changed, self._closed = Condition(), False
        self._workers = [Thread(target=self._work, daemon=True) for _ in range(slots)]
        for worker in self._workers:
            worker.start()

    def ask(self, ask: Ask, listener: Listener) -> Ticket:
        """Begin to answer; raises AskError if it cannot be answered, BusyError if too many wait already."""
        running = _Running(ask=fitting(ask, self.context, self._config.vocab_size), listener=listener)
        with self._changed:
            if self._closed:
                raise EngineError("the engine is closed")
            if len(self._waiting) >= self._queue:
                raise BusyError(f"{len(self._waiting)} questions wait already; ask again later")
            self._waiting.append(running)
            self._changed.notify()
        return Ticket(cancel=lambda: self._cancel(running))

    def load(self) -> Load:
        """How busy it is now."""
        return Load(running=len(self._running), waiting=len(self._waiting), slots=len(self._workers))

    def close(self) -> None:
        """Answer no more; whoever waits hears that it was cancelled."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            running, waiting = list(self._running), list(self._waiting)
            self._waiting.clear()
        for each in waiting:
            each.end("cancelled")
        for each in running:
            each.cancel()
        for worker in self._workers:
            worker.join()
        self._child.close()

    def _cancel(self, running: _Running) -> None:
        """Who still waits is told at once."""
        with self._changed:
            waits = running in self._waiting
            if waits:
                self._waiting.remove(running)
        if waits:
            running.end("cancelled")
        else:
            running.cancel()

    def _work(self) -> None:
        while (running := self._next()) is not None:
            try:
                reason, problem = self._answered(running)
            except (OSError, HTTPException, ValueError, EngineError) as error:
                reason, problem = "failed", " ".join(str(error).split()) or repr(error)
            if running.cancelled:
                reason, problem = "cancelled", ""
            elif reason == "failed":
                problem = self._child.died() or problem
            running.close()
            with self._changed:
                self._running.discard(running)
            running.end(reason, problem)

    def _next(self) -> _Running | None:
        with self._changed:
            while not (self._waiting or self._closed):
                self._changed.wait()
            if self._closed:
                return None
            running = self._waiting.popleft()
            self._running.add(running)
            return running

    def _answered(self, running: _Running) -> tuple[Reason, str]:
        reply = running.posted(self._child.address(), self._child.key)
        if running.cancelled:
            return "cancelled", ""
        if reply.status != 200:
            return "failed", " ".join(reply.read().decode(errors="replace").split())
        for told in _events(reply):
            # it counts those that it keeps silent on, until the bytes of their character are all there
            running.said = told["tokens_predicted"]
            if told["stop"]:
                reason = _ENDINGS[told["stop_type"]]
                running.said -= reason == "stop"
                return reason, ""
            if told["tokens"] and told["tokens"][0] not in self._config.eos_token_ids:
                running.listener(_token(told, running.ask.logprobs or 0))
        return "failed", "llama.cpp broke off"


def _events(reply: HTTPResponse) -> Iterator[Any]:
    """The server-sent events of an answer."""
    for line in reply:
        if line.startswith(b"data: "):
            yield json.loads(line[len(b"data: ") :])
        elif line.startswith(b"error: "):
            raise ValueError(line.decode(errors="replace"))


def _token(told: Mapping[str, Any], likeliest: int) -> Token:
    shares = next(iter(told.get("completion_probabilities", ())), {})
    best = tuple((each["id"], each["logprob"]) for each in shares.get("top_logprobs", ()))
    return Token(id=told["tokens"][0], text=told["content"], logprob=shares.get("logprob"), likeliest=best[:likeliest])


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
        "seed": ask.seed,
        # it tells the chosen token's own share only beside at least one other
        "n_probs": 0 if ask.logprobs is None else max(1, ask.logprobs),
    }
