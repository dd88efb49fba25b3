"""The metrics of every task, as sums over examples.

Each metric is a table of statistics, one row an example, and a function from the summed row to the score.
So a bootstrap of a thousand resamples is one matrix product, and the score itself is sacrebleu's or
rouge-score's: the tables are taken from them.
"""

import re
import string
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy
from numpy.typing import NDArray
from rouge_score.rouge_scorer import RougeScorer
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF

from minikin.measure.any_script import AnyScript
from minikin.measure.records import Answer

Table = NDArray[numpy.float64]  # [answers, statistics]
Score = Callable[[NDArray[numpy.float64]], float]  # of one summed row
_ROUGES = ("rouge1", "rouge2", "rougeL")
_NEXT_TO_NOTHING = 1.0  # a share of a score below this is noise, whatever it is a score of


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A named score of one task; `score` takes one summed row of `table` and gives 0 to 100.

    `guessed` is what guessing scores, where answers are chosen and not written.
    """

    name: str
    task: str
    table: Callable[[Sequence[Answer]], Table]
    score: Score
    signature: str
    guessed: Callable[[Sequence[Answer]], float] | None = None


def scored(metric: Metric, answers: Sequence[Answer]) -> tuple[Table, Score]:
    """The metric's table, and its score; several groups are scored each as a corpus of its own, and averaged."""
    groups = sorted({answer.group for answer in answers})
    if len(groups) == 1:
        return metric.table(answers), metric.score
    places = [[index for index, answer in enumerate(answers) if answer.group == group] for group in groups]
    tables = [metric.table([answers[index] for index in chosen]) for chosen in places]
    width = tables[0].shape[1]
    whole = numpy.zeros((len(answers), len(groups) * width))
    for number, (chosen, table) in enumerate(zip(places, tables, strict=True)):
        whole[chosen, number * width : (number + 1) * width] = table
    return whole, lambda sums: _mean_over_groups(metric.score, numpy.split(sums, len(groups)))


def chance(metric: Metric, answers: Sequence[Answer]) -> float:
    """The score that needs no skill in what was asked.

    For what is written, that of the reference of another question of its group in place of the answer; of summaries,
    if that is more, that of the document's first words, as many as a reference has on average ("lead").
    """
    if metric.guessed:
        groups = dict.fromkeys(answer.group for answer in answers)
        return float(
            numpy.mean([metric.guessed([each for each in answers if each.group == group]) for group in groups])
        )
    unskilled = [_anothers(answers), *([_leads(answers)] if metric.task == "summarization" else [])]
    tables = [scored(metric, given) for given in unskilled]
    return max(_NEXT_TO_NOTHING, *(score(table.sum(0)) for table, score in tables))


def metrics_of(task: str) -> list[Metric]:
    """The metrics of a task, in the order they are shown."""
    return [metric for metric in _METRICS if metric.task == task]


def sentence_score(answer: Answer) -> float:
    """One answer's own score, 0 to 100: sentence chrF, ROUGE-1 F1 or reply F1, as its task is."""
    match answer.task:
        case "translation":
            return float(_chrf().sentence_score(answer.output, list(answer.references)).score)
        case "summarization":
            return 100 * _rouge_f1("rouge1", answer)
        case _:
            return 100 * reply_f1(answer.output, answer.references)


def reply_f1(output: str, references: Sequence[str]) -> float:
    """F1 of shared words, lower-cased, without punctuation and articles; the best over the references (ParlAI)."""
    return max(_word_f1(_words(output), _words(reference)) for reference in references)


def _words(text: str) -> list[str]:
    bare = text.lower().translate(str.maketrans("", "", string.punctuation))
    return [word for word in re.split(r"\s+", bare) if word and word not in ("a", "an", "the")]


def _word_f1(output: list[str], reference: list[str]) -> float:
    shared = sum((Counter(output) & Counter(reference)).values())
    return 2 * shared / (len(output) + len(reference)) if shared else 0.0


def _anothers(answers: Sequence[Answer]) -> list[Answer]:
    """Every answer replaced by a reference of the question half of its group further on."""
    found = list(answers)
    for group in {answer.group for answer in answers}:
        places = [place for place, answer in enumerate(answers) if answer.group == group]
        half = len(places) // 2
        for place, other in zip(places, places[half:] + places[:half], strict=True):
            # a question that is alone in its group has no other: nothing is said
            found[place] = replace(answers[place], output=answers[other].references[0] if half else "")
    return found


def _leads(answers: Sequence[Answer]) -> list[Answer]:
    words = round(numpy.mean([len(answer.references[0].split()) for answer in answers]))
    return [replace(answer, output=" ".join(answer.source.split()[:words])) for answer in answers]


def _mean_over_groups(score: Score, parts: Sequence[NDArray[numpy.float64]]) -> float:
    """Of the groups that a resample has answers of; an answer of any leaves something in the sums."""
    return float(numpy.mean([score(part) for part in parts if part.any()] or [0.0]))


@lru_cache(maxsize=1)
def _bleu() -> BLEU:
    return BLEU()


@lru_cache(maxsize=1)
def _chrf() -> CHRF:
    return CHRF()


def _sacrebleu_table(metric: BLEU | CHRF, answers: Sequence[Answer]) -> Table:
    # sacrebleu wants as many reference streams as the richest example has; None fills the others
    streams = max(len(answer.references) for answer in answers)
    references: Any = [
        [answer.references[index] if index < len(answer.references) else None for answer in answers]
        for index in range(streams)
    ]
    outputs = [answer.output for answer in answers]
    return numpy.asarray(metric._extract_corpus_statistics(outputs, references), dtype=numpy.float64)


def _bleu_score(sums: NDArray[numpy.float64]) -> float:
    # sacrebleu's smoothing needs whole numbers
    return float(_bleu()._compute_score_from_stats([round(value) for value in sums]).score)


def _chrf_score(sums: NDArray[numpy.float64]) -> float:
    return float(_chrf()._compute_score_from_stats([round(value) for value in sums]).score)


def _mean(values: Sequence[float]) -> Table:
    return numpy.column_stack((numpy.asarray(values, dtype=numpy.float64), numpy.ones(len(values))))


def _mean_score(sums: NDArray[numpy.float64]) -> float:
    return float(100 * sums[0] / sums[1])


def _rouge_table(name: str) -> Callable[[Sequence[Answer]], Table]:
    def table(answers: Sequence[Answer]) -> Table:
        return _mean([_rouge_f1(name, answer) for answer in answers])

    return table


def _rouge_f1(name: str, answer: Answer) -> float:
    return max(_rouge().score(text, answer.output)[name].fmeasure for text in answer.references)


def _guessed_hits(answers: Sequence[Answer]) -> float:
    return float(numpy.mean([100 / max(1, answer.candidates) for answer in answers]))


@lru_cache(maxsize=1)
def _rouge() -> RougeScorer:
    return RougeScorer(list(_ROUGES), tokenizer=AnyScript())


_METRICS = (
    Metric(
        name="bleu",
        task="translation",
        table=lambda answers: _sacrebleu_table(_bleu(), answers),
        score=_bleu_score,
        signature="sacrebleu nrefs:var|case:mixed|eff:no|tok:13a|smooth:exp",
    ),
    Metric(
        name="chrf",
        task="translation",
        table=lambda answers: _sacrebleu_table(_chrf(), answers),
        score=_chrf_score,
        signature="sacrebleu nrefs:var|case:mixed|eff:yes|nc:6|nw:0|space:no",
    ),
    *(
        Metric(
            name=name.lower(),
            task="summarization",
            table=_rouge_table(name),
            score=_mean_score,
            signature="rouge-score F1, stemmed, words of any script; mean over examples, best reference",
        )
        for name in _ROUGES
    ),
    Metric(
        name="hits@1",
        task="dialogue",
        table=lambda answers: _mean([float(bool(answer.hit)) for answer in answers]),
        score=_mean_score,
        signature="true reply first among its candidates",
        guessed=_guessed_hits,
    ),
    Metric(
        name="reply_f1",
        task="dialogue",
        table=lambda answers: _mean([reply_f1(answer.output, answer.references) for answer in answers]),
        score=_mean_score,
        signature="F1 of words, lower case, without punctuation and articles",
    ),
)
