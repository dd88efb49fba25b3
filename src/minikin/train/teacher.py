"""The larger member that a student learns from: frozen, asked without gradients."""

from dataclasses import dataclass

import torch
from torch import Tensor

from minikin.base.shapes import Hidden, Logits
from minikin.model.decoder import Decoder, Pick
from minikin.text.batches import Batch
from minikin.train.replying import Exchange, scores


@dataclass(frozen=True, kw_only=True)
class Teacher:
    """A frozen decoder; `kept_hidden` are the channels of it that the student was cut to, in order."""

    decoder: Decoder
    kept_hidden: tuple[int, ...]

    def hidden(self, batch: Batch, pick: Pick) -> Hidden:
        """Its last hidden states where they are picked on a batch."""
        with torch.no_grad():
            return self.decoder(batch.tokens, batch.positions, batch.documents, pick=pick)

    def scores(self, found: Exchange, conversations: Hidden) -> Tensor:
        """How like every reply is to every conversation, given its hidden states where those end."""
        with torch.no_grad():
            return scores(self.decoder, found, conversations)

    def logits(self, hidden: Hidden) -> Logits:
        """Its scores of every next token."""
        with torch.no_grad():
            return self.decoder.logits(hidden)
