"""Guards against overfitting, on by default: training is watched on examples that it never sees, and the best kept.

Dropout and weight decay grow with how often the same rows are seen. Up to four times is almost as good as new data
(Muennighoff et al. 2023, arXiv 2305.16264); more often wants far more of both than usual (Kim et al. 2025,
arXiv 2509.14786).
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from math import log2, sqrt
from random import Random
from typing import Any

from minikin.base.seeds import numpy_generator, seed_for, torch_generator
from minikin.family.answering import questions_of
from minikin.family.learning import Optimization
from minikin.family.recipe import Recipe
from minikin.family.site import Site
from minikin.family.supply import watched_records
from minikin.measure.examine import examine
from minikin.measure.metrics import metrics_of, scored
from minikin.measure.records import Answer
from minikin.measure.select import by_likelihood, by_likeness
from minikin.measure.tasks import Question
from minikin.model.decoder import Decoder
from minikin.model.decoding import Decoding
from minikin.text.batches import Batch, PackedCorpus
from minikin.text.corpus import Corpus
from minikin.text.mapping import Task
from minikin.text.mixture import Mixture
from minikin.text.records import Dialogue, Record
from minikin.text.tokenizer import Tokenizer
from minikin.text.views import up_to_drawn_turns
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


@dataclass(frozen=True, kw_only=True)
class Watched:
    """Rows of one source of a task, and the source's part of what is trained on."""

    task: str
    rows: Batch
    part: float


def held_out(site: Site, trained_on: Mixture) -> Callable[[Decoder], dict[str, float]]:
    """The loss of the answers a task, on some rows that are never trained on; always the same ones.

    A task's sources count as much as in what is trained on.
    """
    watched = list(_watched_rows(site, trained_on))
    tasks = dict.fromkeys(each.task for each in watched)

    def losses_of(decoder: Decoder) -> dict[str, float]:
        found = [(each, loss_of(decoder, each.rows)) for each in watched]
        of_task = {task: [(each.part, loss) for each, loss in found if each.task == task] for task in tasks}
        return {
            task: sum(part * loss for part, loss in of) / sum(part for part, _ in of) for task, of in of_task.items()
        }

    return losses_of


def loss_of(decoder: Decoder, rows: Batch) -> float:
    """The loss of some rows, in nats a token that counts."""
    return held_out_loss(decoder, _parts(rows))


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
                select=by_likeness if recipe.data.replies_told_apart else by_likelihood,
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


def _watched_rows(site: Site, trained_on: Mixture) -> Iterator[Watched]:
    for task in site.recipe.data.tasks:
        parts = trained_on.parts(task)
        for number, part in enumerate(parts):
            folder = site.store.folder("data") / "held_out" / task / str(number)
            if folder.is_dir():
                rows = PackedCorpus(Corpus(folder), site.recipe.data.sequence_length, 0.0)
                order = numpy_generator(site.recipe.seed, "held out", task, number).permutation(len(rows))
                chosen = order[: -(-WATCHED_ROWS // len(parts))].tolist()
                yield Watched(task=task, rows=rows.answers(chosen), part=part)


def _watched_questions(recipe: Recipe, task: Task) -> list[Question]:
    """Evenly from all that is watched of a task, dialogues up to some turn; none if that is too little to ask about."""
    there = list(watched_records(recipe, task))
    count = min(len(there), _WATCHED_QUESTIONS)
    examples = [there[number * len(there) // count] for number in range(count)]
    if task == "dialogue":
        chance = Random(seed_for(recipe.seed, "watched turns"))
        whole = (record for record, *_ in examples if isinstance(record, Dialogue))
        asked = list(up_to_drawn_turns(whole, chance))
        if len({dialogue.turns[-1].text for dialogue in asked}) < _LEAST_QUESTIONS:
            return []  # nothing to choose among
        examples = [list[Record]([dialogue]) for dialogue in asked]
    return questions_of(examples, [""] * len(examples), recipe.seed) if len(examples) >= _LEAST_QUESTIONS else []


def _main_score(answers: Sequence[Answer]) -> float:
    table, score = scored(metrics_of(answers[0].task)[0], answers)
    return score(table.sum(0))


def _parts(rows: Batch) -> Iterator[Batch]:
    """A few rows at a time."""
    for start in range(0, len(rows.tokens), 16):
        yield Batch(**{name: tensor[start : start + 16] for name, tensor in vars(rows).items()})
