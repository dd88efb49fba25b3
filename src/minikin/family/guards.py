"""Guards against overfitting, on by default: training is watched on examples that it never sees, and the best kept.

Dropout and weight decay grow with how often the same rows are seen. Up to four times is almost as good as new data
(Muennighoff et al. 2023, arXiv 2305.16264); more often wants far more of both than usual (Kim et al. 2025,
arXiv 2509.14786).
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from math import log2, sqrt
from typing import Any

from minikin.base.seeds import numpy_generator, torch_generator
from minikin.family.answering import questions_of, selector
from minikin.family.learning import Optimization
from minikin.family.recipe import Recipe
from minikin.family.site import Site
from minikin.family.supply import watched_records
from minikin.measure.examine import examine
from minikin.measure.metrics import metrics_of, scored
from minikin.measure.records import Answer
from minikin.measure.tasks import Question
from minikin.model.decoder import Decoder
from minikin.model.decoding import Decoding
from minikin.text.batches import Batch, PackedCorpus
from minikin.text.corpus import Corpus
from minikin.text.sources import Task
from minikin.text.tokenizer import Tokenizer
from minikin.train.candidates import Kept
from minikin.train.objective import held_out_loss

WATCHED_ROWS = 48  # a task
_WATCHED_QUESTIONS, _LEAST_QUESTIONS = 100, 2  # a task
_LONGEST_ANSWER, _TOGETHER = 64, 64  # tokens; questions
_BASE_DECAY, _MOST_DECAY = 0.05, 0.5
_MOST_DROPOUT, _FEW = 0.3, 4.0


def dropout(optimization: Optimization, repeats: float) -> float:
    """What the recipe says, or by how often a row is seen: 0 up to four times, 0.1 for eight, 0.2 for sixteen."""
    if optimization.dropout != "auto":
        return optimization.dropout
    return min(_MOST_DROPOUT, 0.1 * log2(max(_FEW, repeats) / _FEW))


def weight_decay(optimization: Optimization, repeats: float) -> float:
    """What the recipe says, or by how often a row is seen: 0.05 for once, 0.1 for four times."""
    if optimization.weight_decay != "auto":
        return optimization.weight_decay
    return min(_MOST_DECAY, _BASE_DECAY * sqrt(max(1.0, repeats)))


def held_out(site: Site) -> Callable[[Decoder], dict[str, float]]:
    """The loss of the answers a task, on some rows that are never trained on; always the same ones."""
    length, chosen = site.recipe.data.sequence_length, {}
    for folder in sorted((site.store.folder("data") / "held_out").glob("*")):
        rows = PackedCorpus(Corpus(folder), length, 0.0)
        order = numpy_generator(site.recipe.seed, "held out", folder.name).permutation(len(rows))
        chosen[folder.name] = rows.answers(order[:WATCHED_ROWS].tolist())
    return lambda decoder: losses(decoder, chosen)


def losses(decoder: Decoder, chosen: dict[str, Batch]) -> dict[str, float]:
    """The loss a task of some rows."""
    return {task: held_out_loss(decoder, _parts(rows)) for task, rows in chosen.items()}


def task_score(site: Site) -> Callable[[Decoder], float]:
    """The mean over tasks of their main score, 0 to 100, on some examples that are never trained or tested on.

    Nothing of how members are examined has a part in it: another test must not choose other weights.
    """
    recipe, tokenizer = site.recipe, Tokenizer.load(site.store.folder("data"))
    by_task = [_watched_questions(recipe, task) for task in recipe.data.tasks if task != "text"]

    def score(decoder: Decoder) -> float:
        given = [
            examine(
                decoder,
                tokenizer,
                asked,
                decoding=Decoding(max_new_tokens=_LONGEST_ANSWER),
                generator=torch_generator(recipe.seed, "watched"),
                batch=_TOGETHER,
                select=selector(recipe),
                watch=lambda _: None,
            )
            for asked in by_task
            if asked
        ]
        return sum(_main_score(answers) for answers in given) / max(1, len(given))

    return score


def told_guards(decoder: Decoder, decay: float, kept: Kept | None) -> dict[str, Any]:
    """What guarded a training, for its provenance."""
    told = {"dropout": round(decoder.dropout.p, 4), "weight_decay": round(decay, 4)}
    return told | ({"kept": asdict(kept)} if kept else {})


def _watched_questions(recipe: Recipe, task: Task) -> list[Question]:
    """Evenly from all that is watched of a task; none if that is too little to ask about."""
    there = list(watched_records(recipe, task))
    count = min(len(there), _WATCHED_QUESTIONS)
    examples = [there[number * len(there) // count] for number in range(count)]
    return questions_of(examples, [""] * len(examples), recipe.seed) if len(examples) >= _LEAST_QUESTIONS else []


def _main_score(answers: Sequence[Answer]) -> float:
    table, score = scored(metrics_of(answers[0].task)[0], answers)
    return score(table.sum(0))


def _parts(rows: Batch) -> Iterator[Batch]:
    """A few rows at a time."""
    for start in range(0, len(rows.tokens), 16):
        yield Batch(**{name: tensor[start : start + 16] for name, tensor in vars(rows).items()})
