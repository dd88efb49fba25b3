"""The next token of each of many asks, from one row of scores each: settings of one do not touch another."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from minikin.engine.asking import Ask
from minikin.model.repeats import penalized
from minikin.model.sampling import distribution, drawn


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """A token, and its log probabilities if they were asked for."""

    id: int
    logprob: float | None = None
    likeliest: tuple[tuple[int, float], ...] = ()


@final
class Choice:
    """How one ask's tokens are chosen, and what it needs to remember for that."""

    def __init__(self, ask: Ask, vocab_size: int) -> None:
        self._ask = ask
        self._generator = torch.Generator().manual_seed(ask.seed)
        self._bias: Tensor | None = None
        self._seen: Tensor | None = None
        if ask.logit_bias:
            ids, added = zip(*ask.logit_bias.items(), strict=True)
            self._bias = torch.zeros(vocab_size).index_add_(0, torch.tensor(ids), torch.tensor(added).float())
        if ask.repetition_penalty != 1 or ask.presence_penalty or ask.frequency_penalty:
            self._seen = torch.bincount(torch.tensor(ask.prompt), minlength=vocab_size).float()

    @property
    def plain(self) -> bool:
        """Whether it is the likeliest token, and nothing else is wanted."""
        return not self._ask.temperature and self._bias is None and self._seen is None and self._ask.logprobs is None

    def of(self, scores: Tensor) -> Chosen:
        """The next token by its scores [vocab]."""
        ask, changed = self._ask, scores.float()
        if self._bias is not None:
            changed = changed + self._bias
        if self._seen is not None:
            changed = self._repeats_punished(changed, self._seen)
        token = self._drawn(changed) if ask.temperature else int(changed.argmax())
        if self._seen is not None:
            self._seen[token] += 1
        return self._told(token, scores)

    def _repeats_punished(self, scores: Tensor, seen: Tensor) -> Tensor:
        """As OpenAI and llama.cpp subtract them; the repetition penalty before, as Transformers has it."""
        ask, said = self._ask, seen > 0
        if ask.repetition_penalty != 1:
            scores = penalized(scores[None], said.nonzero().T, ask.repetition_penalty)[0]
        return scores - ask.frequency_penalty * seen - ask.presence_penalty * said

    def _drawn(self, scores: Tensor) -> int:
        ask = self._ask
        filters = {"top_k": ask.top_k, "top_p": ask.top_p, "min_p": ask.min_p}
        return int(drawn(distribution(scores[None], temperature=ask.temperature, **filters), self._generator))

    def _told(self, token: int, scores: Tensor) -> Chosen:
        if self._ask.logprobs is None:
            return Chosen(id=token)
        shares = torch.log_softmax(scores.float(), -1)
        best = shares.topk(min(self._ask.logprobs, len(shares)))
        likeliest = tuple(zip(best.indices.tolist(), best.values.tolist(), strict=True))
        return Chosen(id=token, logprob=float(shares[token]), likeliest=likeliest)


def next_tokens(choices: Sequence[Choice], scores: Tensor) -> list[Chosen | Exception]:
    """A token of every row of scores [asks, vocab], or what went wrong with it: that must not touch the others."""
    likeliest = scores.argmax(-1).tolist() if any(choice.plain for choice in choices) else []
    return [
        Chosen(id=likeliest[row]) if choice.plain else _tried(choice, scores[row]) for row, choice in enumerate(choices)
    ]


def _tried(choice: Choice, scores: Tensor) -> Chosen | Exception:
    try:
        return choice.of(scores)
    except Exception as error:  # noqa: BLE001
        return error
