"""Claim: a family stands where a public anchor stands: tokenized BLEU as papers give it, beside sacrebleu's own.

    python benchmarks/anchor.py families/bench

The answers that a built family's members gave to the test are scored again, direction by direction. "13a" is sacrebleu
as it comes: cased, its own tokenizer. "tokenized" is what Multi30k's papers report: both sides lower-cased, punctuation
normalised, tokenized as Moses does (sacremoses), and then compared word by word. Only the second may be held against
them: 41.02 for Transformer-Tiny, English to German, test 2016 (Wu et al. 2021, arXiv 2105.14462). Needs the dev extra.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from conditions import conditions
from rich.console import Console
from rich.table import Table
from sacrebleu.metrics.bleu import BLEU
from sacremoses import MosesPunctNormalizer, MosesTokenizer

from minikin.base.files import read_json
from minikin.measure.records import Answer

Pairs = Sequence[tuple[str, str]]  # what was said, and the reference


def tokenized(texts: Sequence[str], language: str) -> list[str]:
    """Lower-cased words, as Multi30k's own script makes them: lower case, then punctuation, then tokens."""
    normalizer, tokenizer = MosesPunctNormalizer(language), MosesTokenizer(language)
    return [tokenizer.tokenize(normalizer.normalize(text.lower()), return_str=True, escape=False) for text in texts]


def plain_bleu(pairs: Pairs) -> float:
    """sacrebleu's default: cased, 13a."""
    said, references = zip(*pairs, strict=True)
    return BLEU().corpus_score(list(said), [list(references)]).score


def tokenized_bleu(pairs: Pairs, language: str) -> float:
    """BLEU of lower-cased Moses tokens."""
    said, references = (tokenized(side, language) for side in zip(*pairs, strict=True))
    # the tokens are given, so sacrebleu need not warn that they are
    return BLEU(tokenize="none", force=True).corpus_score(said, [references]).score


def directions(family: Path, member: str) -> dict[str, Pairs]:
    """A member's translations and their first references, by source and direction: "en-de"."""
    lines = (family / "answers" / member / "answers.jsonl").read_text(encoding="utf-8").split("\n")
    found: dict[str, list[tuple[str, str]]] = {}
    for answer in (Answer(**json.loads(line)) for line in lines if line):
        if answer.task == "translation":
            found.setdefault(answer.group, []).append((answer.output, answer.references[0]))
    return found


def main() -> None:
    """Print a line a member and direction."""
    family = Path(sys.argv[1])
    recipe = read_json(family / "recipe.json")
    n = "in the table, answers that were given when the family was built"
    print(conditions(threads=1, n=n, seed=f"{recipe['seed']}, of the recipe"))
    table = Table("member", "direction", "n", "BLEU, 13a, cased", "BLEU, tokenized, lower case", title=family.name)
    for member in recipe["member"]:
        for group, pairs in directions(family, member).items():
            scores = plain_bleu(pairs), tokenized_bleu(pairs, group.rsplit("-", 1)[-1])
            table.add_row(member, group, f"{len(pairs):,}", *(f"{score:.2f}" for score in scores))
    Console().print(table)


if __name__ == "__main__":
    main()
