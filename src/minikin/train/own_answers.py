"""On-policy distillation: the student answers by itself, and is then taught on what it said.

What a student says when nobody leads it differs from the data's answers, and its mistakes add up; a teacher's view of
its own words shows it the way back (Agarwal et al. 2024, "GKD", algorithm 1, with forward KL).
"""

from collections.abc import Iterator
from pathlib import Path
from typing import final

import torch
from torch import Tensor

from minikin.base.errors import TrainingError
from minikin.base.files import whole_folder
from minikin.base.seeds import numpy_generator, torch_generator
from minikin.model.decoder import Decoder
from minikin.model.decoding import Decoding, decode_batches
from minikin.text.batches import Batch, PackedCorpus, joined
from minikin.text.chat import Example
from minikin.text.corpus import Corpus, write_corpus
from minikin.text.mixture import Mixture

_STEPS_A_ROUND = 16
_TOGETHER = 128  # prompts decoded side by side
_LEAST_PROMPT = 4  # tokens; a text that is all answer asks nothing


@final
class OwnAnswers:
    """Batches in which `share` of the rows hold the student's own answers to the data's prompts.

    Which of the data's rows they replace is drawn for every step, so that every task has its part in both.
    Answers are sampled at temperature 1, half a row long at most, for `_STEPS_A_ROUND` steps at once, and kept in
    `folder`: a training that is resumed in the middle of a round goes on with the same ones.
    """

    def __init__(
        self, *, student: Decoder, rows: Mixture, folder: Path, share: float, max_new_tokens: int, seed: int, end: int
    ) -> None:
        self._student, self._rows, self._folder = student, rows, folder
        self._own = max(1, round(share * rows.batch_rows))
        self._longest, self._seed, self._end = min(max_new_tokens, rows.length // 2), seed, end
        self._round: tuple[int, PackedCorpus] | None = None

    def batch(self, step: int) -> Batch:
        """Batch `step`: the student's own rows first, then those of the data."""
        number, within = divmod(step, _STEPS_A_ROUND)
        answered = self._answered(number)
        # rows are packed by length, and short answers of one task: in another order every batch has some of all
        order = numpy_generator(self._seed, "order of own answers", number).permutation(len(answered))
        chosen = [int(order[(within * self._own + place) % len(order)]) for place in range(self._own)]
        return joined([answered.batch(chosen), _rows(self._rows.batch(step), self._drawn(step)[self._own :])])

    def _answered(self, number: int) -> PackedCorpus:
        if self._round is None or self._round[0] != number:
            folder = self._folder / f"round-{number:06d}"
            if not folder.is_dir():
                with whole_folder(folder) as fresh:
                    write_corpus(fresh, self._examples(number), self._student.config.vocab_size)
            self._round = number, PackedCorpus(Corpus(folder), self._rows.length, 0.0)
        return self._round[1]

    def _examples(self, number: int) -> Iterator[Example]:
        asked, training = self._asked(number), self._student.training
        chance = torch_generator(self._seed, "own answers", number)
        drawn = Decoding(max_new_tokens=self._longest, temperature=1.0)
        self._student.eval()
        replies = decode_batches(self._student, asked, drawn, chance, batch=_TOGETHER, watch=lambda _: None)
        self._student.train(training)
        return map(self._example, asked, replies)

    def _asked(self, number: int) -> list[list[int]]:
        """The prompts of a round's rows that leave room for an answer; raises TrainingError if there is none."""
        first, room = number * _STEPS_A_ROUND, self._rows.length - self._longest
        steps = range(first, first + _STEPS_A_ROUND)
        rows = (_rows(self._rows.answers(step), self._drawn(step)[: self._own]) for step in steps)
        if asked := [prompt for batch in rows for prompt in prompts(batch) if len(prompt) <= room]:
            return asked
        raise TrainingError(
            f"on_policy: no prompt is short enough for an answer of {self._longest} tokens beside it in a row of "
            f"{self._rows.length}; raise data.sequence_length"
        )

    def _drawn(self, step: int) -> Tensor:
        """The rows of a step's batch: as many as are replaced first, then the others."""
        chance = numpy_generator(self._seed, "rows that are replaced", step)
        return torch.from_numpy(chance.permutation(self._rows.batch_rows))

    def _example(self, prompt: list[int], reply: list[int]) -> Example:
        # an answer that came to no end by itself is not taught to have one
        said = reply if len(reply) == self._longest else [*reply, self._end]
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


def _rows(batch: Batch, chosen: Tensor) -> Batch:
    return Batch(**{name: tensor[chosen] for name, tensor in vars(batch).items()})
