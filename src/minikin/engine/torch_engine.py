"""The reference engine: PyTorch in a thread of its own, all running asks one token further at a time.

Prompts are read in pieces between the steps, so that who speaks already is not kept waiting by a long one.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread
from typing import final

import torch

from minikin.engine.asking import Ask, Ended, Listener, Load, Reason, Ticket, Token, fitting
from minikin.engine.line import Line
from minikin.engine.next_token import Choice, Chosen, next_tokens
from minikin.engine.speech import Speech
from minikin.model.cache import Cache
from minikin.model.checkpoint import load
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
    speech: Speech
    said: int = 0
    newest: int = 0
    cancelled: bool = False
    read: int = field(default=0)  # tokens of the prompt

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
        self._decoder, self._tokenizer = load(folder).eval(), Tokenizer.load(folder)
        self._config = self._decoder.config
        self.context, self.vocab_size = self._config.max_position_embeddings, self._config.vocab_size
        self._step, self._slots = Step(self._decoder), Slots(self._config, slots)
        self._line = Line[_Running](slots + queue)
        self._speaking: list[tuple[_Running, Choice]] = []
        self._reading: tuple[_Running, Cache] | None = None
        self._thread = Thread(target=self._work, name=f"minikin {folder.name}", daemon=True)
        self._thread.start()

    def ask(self, ask: Ask, listener: Listener) -> Ticket:
        """Begin to answer; raises AskError if it cannot be answered, BusyError if too many wait already."""
        ask = fitting(ask, self.context, self.vocab_size)
        running = _Running(ask=ask, listener=listener, speech=Speech(self._tokenizer))
        self._line.enter(running)
        return Ticket(cancel=lambda: self._cancel(running))

    def load(self) -> Load:
        """How busy it is now."""
        running = len(self._speaking) + (self._reading is not None)
        return Load(running=running, waiting=len(self._line), slots=self._slots.count, alive=self._line.open)

    def close(self) -> None:
        """Answer no more; whoever waits hears that it was cancelled."""
        for running in self._line.close():
            running.end("cancelled")
        self._thread.join()

    def _cancel(self, running: _Running) -> None:
        """Who waits is told at once, who is being answered before the next step."""
        running.cancelled = True
        if self._line.step_out(running):
            running.end("cancelled")

    def _work(self) -> None:
        reason, problem = "cancelled", ""
        try:
            self._answer()
        except Exception as error:  # noqa: BLE001  whatever it was, nobody must wait for an engine that is gone
            reason, problem = "failed", " ".join(str(error).split()) or repr(error)
        waiting = self._line.close()
        for running in (*(running for running, _ in self._speaking), *self._being_read(), *waiting):
            running.end(reason, problem)
        self._speaking, self._reading = [], None

    @torch.inference_mode()
    def _answer(self) -> None:
        while self._line.open:
            self._drop_cancelled()
            self._read_on()
            if self._speaking:
                self._say_on()

    def _being_read(self) -> list[_Running]:
        return [self._reading[0]] if self._reading else []

    def _drop_cancelled(self) -> None:
        for row in reversed(range(len(self._speaking))):
            if self._speaking[row][0].cancelled:
                self._end(row, "cancelled")
        if self._reading and self._reading[0].cancelled:
            self._reading[0].end("cancelled")
            self._reading = None
            self._line.done()

    def _read_on(self) -> None:
        """Read a piece of one prompt; once it is read, its answer begins."""
        if self._reading is None and len(self._speaking) < self._slots.count:
            running = self._line.next(wait=not self._speaking)
            self._reading = (running, Cache.empty(self._config, 1, self._decoder.device)) if running else None
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
            self._speaking.append((running, Choice(running.ask, self.vocab_size)))
            self._hear(self._speaking[-1:], self._decoder.logits(hidden))

    def _say_on(self) -> None:
        speaking = list(self._speaking)
        self._hear(speaking, self._step(torch.tensor([running.newest for running, _ in speaking]), self._slots))

    def _hear(self, speaking: Sequence[tuple[_Running, Choice]], scores: torch.Tensor) -> None:
        """Choose everybody's token and tell it; who ends leaves."""
        found = next_tokens([choice for _, choice in speaking], scores)
        for each, chosen in zip(speaking, found, strict=True):
            running, row = each[0], self._speaking.index(each)
            if isinstance(chosen, Exception):
                self._end(row, "failed", " ".join(str(chosen).split()) or repr(chosen))
            elif chosen.id in self._config.eos_token_ids:
                self._end(row, "stop")
            else:
                running.say(chosen)
                if running.said >= running.ask.max_tokens:
                    self._end(row, "length")

    def _end(self, row: int, reason: Reason, problem: str = "") -> None:
        """Free a row: the last one moves there, in the slots as in the list."""
        (running, _), moved = self._speaking[row], self._slots.leave(row)
        self._speaking[row] = self._speaking[moved]
        self._speaking.pop()
        self._line.done()
        running.end(reason, problem)
