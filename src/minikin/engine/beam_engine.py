"""Beam search as an engine: one answer after the other, each told as a whole."""

from pathlib import Path
from typing import final

import torch

from minikin.engine.asking import Ask, Ended, Listener, Load, Ticket, Token, fitting
from minikin.engine.computing import done, later
from minikin.engine.speech import Speech
from minikin.model.beam import beam_search
from minikin.model.checkpoint import load
from minikin.model.repeats import repeats_adjusted
from minikin.text.tokenizer import Tokenizer


@final
class BeamEngine:
    """One member, searched with `beams` answers side by side; of what else an ask says, repetition is minded."""

    name = "torch, beams"

    def __init__(self, folder: Path, beams: int, length_penalty: float = 1.0) -> None:
        self._decoder, self._tokenizer = done(lambda: load(folder).eval()), Tokenizer.load(folder)
        self._beams, self._length_penalty, self._due = beams, length_penalty, 0
        config = self._decoder.config
        self.context, self.vocab_size = config.max_position_embeddings, config.vocab_size

    def ask(self, ask: Ask, listener: Listener) -> Ticket:
        """Begin to answer; raises AskError if it cannot be answered. A search that has begun is not broken off."""
        ask = fitting(ask, self.context, self.vocab_size)
        self._due += 1
        later(lambda: self._search(ask, listener))
        return Ticket(cancel=lambda: None)

    def load(self) -> Load:
        """How busy it is now."""
        return Load(running=min(1, self._due), waiting=max(0, self._due - 1), slots=1)

    def close(self) -> None:
        """Wait for the answers that are due."""
        done(lambda: None)

    @torch.inference_mode()
    def _search(self, ask: Ask, listener: Listener) -> None:
        adjust, speech = repeats_adjusted(ask.repetition_penalty, 0), Speech(self._tokenizer)
        try:
            (found,) = beam_search(
                self._decoder, [ask.prompt], ask.max_tokens, self._beams, self._length_penalty, adjust
            )
        except Exception as error:  # noqa: BLE001  whatever it was, nobody must wait for it
            listener(Ended(reason="failed", problem=" ".join(str(error).split()) or repr(error)))
            return
        finally:
            self._due -= 1
        for token in found:
            listener(Token(id=token, text=speech.more(token)))
        reason = "length" if len(found) >= ask.max_tokens else "stop"
        listener(Ended(reason=reason, tokens=len(found), text=speech.rest()))
