"""Beam search as an engine: one answer after the other, each told as a whole."""

from dataclasses import dataclass
from pathlib import Path
from typing import final

import torch
from torch import Tensor

from minikin.base.errors import in_a_line
from minikin.base.shapes import Tokens
from minikin.engine.asking import Ask, Ended, Listener, Load, Ticket, Token, fitting
from minikin.engine.computing import done, later
from minikin.engine.line import Line
from minikin.engine.speech import Speech
from minikin.model.beam import beam_search
from minikin.model.checkpoint import load
from minikin.model.repeats import repeats_adjusted
from minikin.text.tokenizer import Tokenizer


class _Left(Exception):
    """Nobody wants what is being searched."""


@dataclass(kw_only=True, eq=False)
class _Running:
    ask: Ask
    listener: Listener
    cancelled: bool = False


@final
class BeamEngine:
    """One member, searched with `beams` answers side by side; of what else an ask says, repetition is minded."""

    name = "torch, beams"

    def __init__(self, folder: Path, beams: int, length_penalty: float = 1.0, queue: int = 8) -> None:
        self._decoder, self._tokenizer = done(lambda: load(folder).eval()), Tokenizer.load(folder)
        self._beams, self._length_penalty = beams, length_penalty
        self.room = 1 + queue
        self._line, self._searching = Line[_Running](self.room), False
        config = self._decoder.config
        self.context, self.vocab_size = config.max_position_embeddings, config.vocab_size

    def ask(self, ask: Ask, listener: Listener) -> Ticket:
        """Begin to answer; raises AskError if it cannot be answered, BusyError if too many wait already."""
        running = _Running(ask=fitting(ask, self.context, self.vocab_size), listener=listener)
        self._line.enter(running)
        later(self._search)
        return Ticket(cancel=lambda: self._cancel(running))

    def load(self) -> Load:
        """How busy it is now."""
        return Load(running=int(self._searching), waiting=len(self._line), slots=1, alive=self._line.open)

    def close(self) -> None:
        """Answer no more; whoever waits hears that it was cancelled."""
        for running in self._line.close():
            running.listener(Ended(reason="cancelled"))
        done(lambda: None)

    def _cancel(self, running: _Running) -> None:
        """Who waits is told at once, who is being answered before the next token."""
        running.cancelled = True
        if self._line.step_out(running):
            running.listener(Ended(reason="cancelled"))

    def _search(self) -> None:
        for running in self._line.first(1, lambda _: 0, 0):  # nobody, if who asked has left meanwhile
            self._searching = True
            try:
                ended = self._told(running)
            except _Left:
                ended = Ended(reason="cancelled")
            except BaseException as error:  # noqa: BLE001  whatever it was, a panic too, nobody must wait for it
                ended = Ended(reason="failed", problem=in_a_line(error))
            self._searching = False
            self._line.done()
            running.listener(ended)

    def _told(self, running: _Running) -> Ended:
        """Search, and tell all tokens; raises _Left if nobody waits for them."""
        ask, speech = running.ask, Speech(self._tokenizer)
        punished = repeats_adjusted(ask.repetition_penalty, 0)

        def adjust(log_p: Tensor, seen: Tokens) -> Tensor:
            if running.cancelled or not self._line.open:
                raise _Left
            return punished(log_p, seen)

        with torch.inference_mode():
            (found,) = beam_search(
                self._decoder, [ask.prompt], ask.max_tokens, self._beams, self._length_penalty, adjust
            )
        for token in found:
            running.listener(Token(id=token, text=speech.more(token)))
        reason = "length" if len(found) >= ask.max_tokens else "stop"
        return Ended(reason=reason, tokens=len(found), text=speech.rest())
