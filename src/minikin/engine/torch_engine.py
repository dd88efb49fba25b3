"""The reference engine: PyTorch in a thread of its own, all running asks one token further at a time.

Prompts are read in pieces between the steps, so that who speaks already is not kept waiting by a long one.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Condition, Thread
from typing import final

import torch

from minikin.base.errors import BusyError, EngineError
from minikin.engine.asking import Ask, Ended, Listener, Load, Reason, Ticket, Token, fitting
from minikin.engine.next_token import Choice, Chosen, next_tokens
from minikin.engine.speech import Speech
from minikin.model.cache import Cache
from minikin.model.checkpoint import load
from minikin.model.decoder import Decoder
from minikin.model.generate import last
from minikin.model.slots import Slots
from minikin.model.step import Step
from minikin.text.tokenizer import Tokenizer

_PIECE = 256  # tokens of a prompt that are read at once


@dataclass(kw_only=True, eq=False)
class _Running:
    """An ask that is being answered, or waits for it."""

    ask: Ask
    listener: Listener
    choice: Choice
    speech: Speech
    said: int = 0
    newest: int = 0
    cancelled: bool = False
    read: int = field(default=0)  # tokens of the prompt

    def cancel(self) -> None:
        """Want no more of it; the engine notices before its next step."""
        self.cancelled = True

    def say(self, chosen: Chosen) -> None:
        """Tell the listener one more token."""
        self.said, self.newest = self.said + 1, chosen.id
        text = self.speech.more(chosen.id)
        self.listener(Token(id=chosen.id, text=text, logprob=chosen.logprob, likeliest=chosen.likeliest))

    def end(self, reason: Reason, problem: str = "") -> None:
        """Tell the listener that this was all."""
        self.listener(Ended(reason=reason, tokens=self.said, text=self.speech.rest(), problem=problem))


@final
class TorchEngine:
    """One member; `slots` asks are answered at a time, `queue` more wait."""

    name = "torch"

    def __init__(self, folder: Path, slots: int = 8, queue: int = 64) -> None:
        self._decoder: Decoder = load(folder).eval()
        self._config, self._tokenizer = self._decoder.config, Tokenizer.load(folder)
        self.context = self._config.max_position_embeddings
        self._step, self._slots = Step(self._decoder), Slots(self._config, slots)
        self._speaking: list[_Running] = []
        self._reading: tuple[_Running, Cache] | None = None
        self._waiting, self._queue = deque[_Running](), queue
        self._changed, self._closed = Condition(), False
        self._thread = Thread(target=self._work, name=f"minikin {folder.name}", daemon=True)
        self._thread.start()

    def ask(self, ask: Ask, listener: Listener) -> Ticket:
        """Begin to answer; raises AskError if it cannot be answered, BusyError if too many wait already."""
        ask = fitting(ask, self.context, self._config.vocab_size)
        choice, speech = Choice(ask, self._config.vocab_size), Speech(self._tokenizer)
        running = _Running(ask=ask, listener=listener, choice=choice, speech=speech)
        with self._changed:
            if self._closed:
                raise EngineError("the engine is closed")
            if len(self._waiting) >= self._queue:
                raise BusyError(f"{len(self._waiting)} questions wait already; ask again later")
            self._waiting.append(running)
            self._changed.notify()
        return Ticket(cancel=running.cancel)

    def load(self) -> Load:
        """How busy it is now."""
        running = len(self._speaking) + (self._reading is not None)
        return Load(running=running, waiting=len(self._waiting), slots=self._slots.count)

    def close(self) -> None:
        """Answer no more; whoever waits hears that it was cancelled."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def _work(self) -> None:
        reason, problem = "cancelled", ""
        try:
            self._answer()
        except Exception as error:  # noqa: BLE001  whatever it was, nobody must wait for an engine that is gone
            reason, problem = "failed", " ".join(str(error).split()) or repr(error)
        with self._changed:
            self._closed = True
        for running in (*self._speaking, *([self._reading[0]] if self._reading else []), *self._waiting):
            running.end(reason, problem)

    @torch.inference_mode()
    def _answer(self) -> None:
        while self._something_to_do():
            self._drop_cancelled()
            self._read_on()
            if self._speaking:
                self._say_on()

    def _something_to_do(self) -> bool:
        """Wait until there is; False once the engine is closed."""
        with self._changed:
            while not (self._closed or self._speaking or self._reading or self._waiting):
                self._changed.wait()
            return not self._closed

    def _drop_cancelled(self) -> None:
        for row in reversed(range(len(self._speaking))):
            if self._speaking[row].cancelled:
                self._end(row, "cancelled")
        if self._reading and self._reading[0].cancelled:
            self._reading[0].end("cancelled")
            self._reading = None
        with self._changed:
            gone = [running for running in self._waiting if running.cancelled]
            for running in gone:
                self._waiting.remove(running)
        for running in gone:
            running.end("cancelled")

    def _read_on(self) -> None:
        """Read a piece of one prompt; once it is read, its answer begins."""
        if self._reading is None and self._waiting and len(self._speaking) < self._slots.count:
            with self._changed:
                running = self._waiting.popleft()
            self._reading = running, Cache.empty(self._config, 1, self._decoder.device)
        if self._reading is None:
            return
        running, cache = self._reading
        piece = running.ask.prompt[running.read : running.read + _PIECE]
        positions = torch.arange(running.read, running.read + len(piece))[None]
        tokens = torch.tensor(piece)[None]
        hidden = self._decoder(tokens, positions, torch.zeros_like(tokens), cache, last)
        running.read += len(piece)
        if running.read == len(running.ask.prompt):
            self._reading = None
            self._slots.take(cache)
            self._speaking.append(running)
            self._heard([running], next_tokens([running.choice], self._decoder.logits(hidden)))

    def _say_on(self) -> None:
        speaking = list(self._speaking)
        scores = self._step(torch.tensor([running.newest for running in speaking]), self._slots)
        self._heard(speaking, next_tokens([running.choice for running in speaking], scores))

    def _heard(self, speaking: Sequence[_Running], tokens: Sequence[Chosen]) -> None:
        """Tell everybody their token; who ends leaves."""
        for running, token in zip(speaking, tokens, strict=True):
            if token.id in self._config.eos_token_ids:
                self._end(self._speaking.index(running), "stop")
                continue
            running.say(token)
            if running.said >= running.ask.max_tokens:
                self._end(self._speaking.index(running), "length")

    def _end(self, row: int, reason: Reason) -> None:
        """Free a row: the last one moves there, in the slots as in the list."""
        running, moved = self._speaking[row], self._slots.leave(row)
        self._speaking[row] = self._speaking[moved]
        self._speaking.pop()
        running.end(reason)
