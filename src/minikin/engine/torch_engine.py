"""The reference engine: PyTorch, all running asks one token further at a time.

Prompts are read between the steps, a piece at a time, so that who speaks already is not kept waiting by a long one.
Engines take turns in the thread that computes; a turn is a piece and a step.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import cast, final

import torch

from minikin.base.errors import in_a_line
from minikin.engine.asking import Ask, Ended, Listener, Load, Reason, Ticket, Token, fitting
from minikin.engine.computing import done, later
from minikin.engine.line import Line
from minikin.engine.next_token import Choice, Chosen, next_tokens
from minikin.engine.prompts import PIECE, Prompts
from minikin.engine.speech import Speech
from minikin.model.checkpoint import load
from minikin.model.decoder import Decoder
from minikin.model.slots import Slots
from minikin.model.step import Step
from minikin.text.tokenizer import Tokenizer


@dataclass(kw_only=True, eq=False)
class _Running:
    """An ask that is being answered, or waits for it."""

    ask: Ask
    listener: Listener
    speech: Speech
    said: int = 0
    newest: int = 0
    cancelled: bool = False

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
        self._decoder, self._step, self._slots = done(lambda: _made_ready(folder, slots))
        self._config, self._tokenizer = self._decoder.config, Tokenizer.load(folder)
        self.context, self.vocab_size = self._config.max_position_embeddings, self._config.vocab_size
        self.room = slots + queue
        self._line, self._speaking = Line[_Running](self.room), list[tuple[_Running, Choice]]()
        self._reading, self._prompts = list[_Running](), cast(Prompts | None, None)
        self._has_turn, self._changing = False, Lock()

    def ask(self, ask: Ask, listener: Listener) -> Ticket:
        """Begin to answer; raises AskError if it cannot be answered, BusyError if too many wait already."""
        ask = fitting(ask, self.context, self.vocab_size)
        running = _Running(ask=ask, listener=listener, speech=Speech(self._tokenizer))
        self._line.enter(running)
        self._take_turn(again=False)
        return Ticket(cancel=lambda: self._cancel(running))

    def load(self) -> Load:
        """How busy it is now."""
        running = len(self._speaking) + len(self._reading)
        return Load(running=running, waiting=len(self._line), slots=self._slots.count, alive=self._line.open)

    def close(self) -> None:
        """Answer no more; whoever waits hears that it was cancelled."""
        for running in self._line.close():
            running.end("cancelled")
        done(lambda: self._end_all("cancelled"))

    def _cancel(self, running: _Running) -> None:
        """Who waits is told at once, who is being answered before the next step."""
        running.cancelled = True
        if self._line.step_out(running):
            running.end("cancelled")

    def _take_turn(self, *, again: bool) -> None:
        """Have a turn due if there is anything to do and none is; `again` is said by the turn that ends."""
        with self._changing:
            if self._has_turn and not again:
                return
            self._has_turn = bool(self._speaking or self._reading or len(self._line))
            if self._has_turn:
                later(self._turn)

    @torch.inference_mode()
    def _turn(self) -> None:
        try:
            self._drop_cancelled()
            self._read_on()
            if self._speaking:
                self._say_on()
        except BaseException as error:  # noqa: BLE001  a panic of the tokenizer's, too: who waits has not asked for it
            self._end_all("failed", in_a_line(error))
        finally:
            self._take_turn(again=True)

    def _end_all(self, reason: Reason, problem: str = "") -> None:
        """End what is being answered, and begin anew with what waits."""
        everybody = (*(running for running, _ in self._speaking), *self._reading)
        self._speaking, self._reading, self._prompts = [], [], None
        for running in everybody:
            self._line.done()
            running.end(reason, problem)
        self._slots = Slots(self._config, self._slots.count)

    def _drop_cancelled(self) -> None:
        for row in reversed(range(len(self._speaking))):
            if self._speaking[row][0].cancelled:
                self._end(row, "cancelled")
        if self._reading and self._reading[0].cancelled:  # what is not read at once is alone
            (running,), self._reading, self._prompts = self._reading, [], None
            self._line.done()
            running.end("cancelled")

    def _read_on(self) -> None:
        """Read a piece; once prompts are read, their answers begin."""
        free = self._slots.count - len(self._speaking)
        if free and not self._reading:
            self._reading = self._line.first(free, lambda each: len(each.ask.prompt), PIECE)
        if not self._reading:
            return
        self._prompts = self._prompts or Prompts(self._decoder, [running.ask.prompt for running in self._reading])
        if (scores := self._prompts.read_on()) is not None:
            fresh = [(running, Choice(running.ask, self.vocab_size)) for running in self._reading]
            self._prompts.take(self._slots)
            self._speaking += fresh
            self._reading, self._prompts = [], None
            self._hear(fresh, scores)

    def _say_on(self) -> None:
        speaking = list(self._speaking)
        self._hear(speaking, self._step(torch.tensor([running.newest for running, _ in speaking]), self._slots))

    def _hear(self, speaking: Sequence[tuple[_Running, Choice]], scores: torch.Tensor) -> None:
        """Choose everybody's token and tell it; who ends leaves."""
        found = next_tokens([choice for _, choice in speaking], scores)
        for each, chosen in zip(speaking, found, strict=True):
            running, row = each[0], self._speaking.index(each)
            if isinstance(chosen, Exception):
                self._end(row, "failed", in_a_line(chosen))
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


def _made_ready(folder: Path, slots: int) -> tuple[Decoder, Step, Slots]:
    decoder = load(folder).eval()
    return decoder, Step(decoder), Slots(decoder.config, slots)
