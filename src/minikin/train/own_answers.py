"""On-policy distillation: the student answers by itself, and is then taught on what it said.

What a student says when nobody leads it differs from the data's answers, and its mistakes add up; a teacher's view of
its own words shows it the way back (Agarwal et al. 2024, "GKD", algorithm 1, with forward KL).
"""

from collections.abc import Iterator
from pathlib import Path
from typing import final

import torch
from torch import Tensor

from minikin.base.files import whole_folder
from minikin.base.seeds import torch_generator
from minikin.base.shapes import Logits
from minikin.model.decoder import Decoder
from minikin.model.generate import generate
from minikin.model.sampling import drawn
from minikin.text.batches import Batch, Mixture, PackedCorpus, joined
from minikin.text.chat import Example
from minikin.text.corpus import Corpus, write_corpus

_STEPS_A_ROUND = 16
_TOGETHER = 128  # prompts decoded side by side
_LEAST_PROMPT = 4  # tokens; a text that is all answer asks nothing


@final
class OwnAnswers:
    """Batches in which `share` of the rows hold the student's own answers to the data's prompts.

    Answers are sampled at temperature 1, for `_STEPS_A_ROUND` steps at once, and kept in `folder`: a training that is
    resumed in the middle of a round goes on with the same ones.
    """

    def __init__(
        self, *, student: Decoder, rows: Mixture, folder: Path, share: float, max_new_tokens: int, seed: int, end: int
    ) -> None:
        self._student, self._rows, self._folder = student, rows, folder
        self._own = max(1, round(share * rows.batch_rows))
        self._max_new_tokens, self._seed, self._end = max_new_tokens, seed, end
        self._round: tuple[int, PackedCorpus] | None = None

    def batch(self, step: int) -> Batch:
        """Batch `step`: the student's own rows first, then those of the data."""
        number, within = divmod(step, _STEPS_A_ROUND)
        answered = self._answered(number)
        chosen = [(within * self._own + place) % len(answered) for place in range(self._own)]
        return joined([answered.batch(chosen), _rows(self._rows.batch(step), slice(self._own, None))])

    def _answered(self, number: int) -> PackedCorpus:
        if self._round is None or self._round[0] != number:
            folder = self._folder / f"round-{number:06d}"
            if not folder.is_dir():
                with whole_folder(folder) as fresh:
                    write_corpus(fresh, self._examples(number), self._student.config.vocab_size)
            self._round = number, PackedCorpus(Corpus(folder), self._rows.length, 0.0)
        return self._round[1]

    def _examples(self, number: int) -> Iterator[Example]:
        first = number * _STEPS_A_ROUND
        asked = [
            prompt
            for step in range(first, first + _STEPS_A_ROUND)
            for prompt in prompts(_rows(self._rows.answers(step), slice(self._own)))
            if len(prompt) + self._max_new_tokens <= self._rows.length
        ]
        asked.sort(key=len)
        chance = torch_generator(self._seed, "own answers", number)
        training = self._student.training
        self._student.eval()
        for start in range(0, len(asked), _TOGETHER):
            together = asked[start : start + _TOGETHER]
            replies = generate(self._student, together, self._max_new_tokens, lambda logits: _drawn(logits, chance))
            yield from (self._example(*pair) for pair in zip(together, replies, strict=True))
        self._student.train(training)

    def _example(self, prompt: list[int], reply: list[int]) -> Example:
        # an answer that came to no end by itself is not taught to have one
        said = reply if len(reply) == self._max_new_tokens else [*reply, self._end]
        return Example(tokens=[*prompt, *said], answer=[False] * len(prompt) + [True] * len(said))


def prompts(batch: Batch) -> Iterator[list[int]]:
    """What stands before the last answer of each document of a batch in which nothing but answers counts."""
    for tokens, weights, documents in zip(batch.tokens, batch.weights, batch.documents, strict=True):
        for number in documents.unique().tolist():
            here = documents == number
            begin = _last_answer(weights[here] > 0)
            if number >= 0 and begin >= _LEAST_PROMPT:
                yield tokens[here][:begin].tolist()


def _last_answer(counts: Tensor) -> int:
    """Where the last answer begins, given which tokens are followed by one; 0 if there is none."""
    places = counts.nonzero()[:, 0].tolist()
    while len(places) > 1 and places[-2] == places[-1] - 1:
        places.pop()
    return places[-1] + 1 if places else 0


def _drawn(logits: Logits, chance: torch.Generator) -> Tensor:
    return drawn(torch.softmax(logits.float(), -1), chance)


def _rows(batch: Batch, chosen: slice) -> Batch:
    return Batch(**{name: tensor[chosen] for name, tensor in vars(batch).items()})
