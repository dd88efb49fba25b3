"""Baseline: how often shared words alone find the true reply, beside the hits@1 of a family's members.

    python benchmarks/lexical.py DIALOGUES QUESTIONS [DIALOGUES QUESTIONS ...]

DIALOGUES are training dialogues, QUESTIONS have candidates, both files in the record shapes of the README. Chosen is
the candidate whose words, weighed by TF-IDF, are most like those of what was said before (cosine; Lowe et al. 2015,
arXiv 1506.08909, section 4.1): of the whole context, or of its last turn. Inverse document frequencies are those of
the training turns. Needs scikit-learn, which minikin does not.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from conditions import conditions, options
from rich.console import Console
from rich.table import Table
from sklearn.feature_extraction.text import TfidfVectorizer

from minikin.text.records import Dialogue, Selection
from minikin.text.sources import read


def main() -> None:
    """Print a row a file of questions."""
    asked = options(__doc__)
    asked.add_argument("files", nargs="+", type=Path, metavar="DIALOGUES QUESTIONS")
    files = asked.parse_args().files
    if len(files) % 2:
        asked.error(f"{files[-1]}: has no file of questions after it")
    print(conditions(threads=1, n="all questions of each file", seed="none, nothing is drawn"), flush=True)
    table = Table("questions", "n", "words of the context, hits@1", "words of the last turn", title="TF-IDF")
    for dialogues, questions in zip(files[::2], files[1::2], strict=True):
        table.add_row(str(questions), *_row(dialogues, questions))
    Console(width=120).print(table)


def _row(dialogues: Path, questions: Path) -> tuple[str, str, str]:
    asked = [record for record in read(questions, "selection") if isinstance(record, Selection)]
    weights = weighed(dialogues)
    whole = hits(weights, asked, [" ".join(turn.text for turn in each.context) for each in asked])
    last = hits(weights, asked, [each.context[-1].text for each in asked])
    return f"{len(asked):,}", f"{whole:.1f}", f"{last:.1f}"


def weighed(dialogues: Path) -> TfidfVectorizer:
    """Words of training turns with how rare they are."""
    records = (record for record in read(dialogues, "dialogue") if isinstance(record, Dialogue))
    return TfidfVectorizer(sublinear_tf=True).fit(turn.text for record in records for turn in record.turns)


def hits(weights: TfidfVectorizer, asked: Sequence[Selection], said: Sequence[str]) -> float:
    """Percent of questions whose true reply is most like what was said; of equals the first is taken."""
    found = 0
    for question, words in zip(asked, weights.transform(said), strict=True):
        likeness = (weights.transform(question.candidates) @ words.T).toarray()[:, 0]
        found += int(np.argmax(likeness)) == question.answer
    return 100 * found / len(asked)


if __name__ == "__main__":
    main()
