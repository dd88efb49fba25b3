"""Claim: a member's GGUF file answers in llama.cpp as the member does here.

    python benchmarks/llamacpp.py FAMILY

FAMILY is a built family. Fifty questions of its test, taken evenly from all tasks, are put to every member, and to
its file of every kind:

* f32, with a float32 cache: the same tokens, all of them;
* f16, as llama.cpp runs by default: each first difference, and how near a tie our two likeliest tokens were there;
* q8_0 and q4_0: along our answers, how often the likeliest next token is ours, and what is lost in log p.
"""

import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest
from pathlib import Path

import torch
from conditions import conditions
from rich.console import Console
from rich.table import Table

from minikin.base.device import prepare
from minikin.base.files import read_json
from minikin.family.answering import test_questions
from minikin.family.exams import own_exams
from minikin.family.reading import checked
from minikin.family.recipe import Recipe
from minikin.measure.examine import fitted
from minikin.measure.tasks import Question
from minikin.model.checkpoint import load
from minikin.model.decoder import Decoder
from minikin.model.generate import generate
from minikin.ship.gguf import Exported, export
from minikin.ship.llamacpp import LlamaCpp
from minikin.text.chat import encode_prompt
from minikin.text.tokenizer import Tokenizer

_QUESTIONS, _THREADS = 50, 1
_NEAR = 1e-2  # logits so close that rounding may turn them round


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A prompt and our whole answer to it, its end included."""

    prompt: list[int]
    answer: list[int]


def main() -> None:
    """Export every member to a folder of its own and print what llama.cpp makes of it."""
    prepare(_THREADS)
    root = Path(sys.argv[1])
    recipe = checked(read_json(root / "recipe.json"), str(root / "recipe.json"))
    n = f"{_QUESTIONS} questions a member"
    print(conditions(threads=_THREADS, n=n, seed=f"{recipe.seed}, of the recipe; answers are not drawn"), flush=True)
    table = Table(title=f"{recipe.name}: {_QUESTIONS} answers of llama.cpp beside ours")
    for heading in (
        "member",
        "file",
        "MB",
        "kept larger",
        "same answers",
        "same next token",
        "log p lost",
        "ties lost",
    ):
        table.add_column(heading, justify="left" if heading in ("member", "file") else "right")
    with tempfile.TemporaryDirectory() as out:
        for name in recipe.member:
            decoder, tokenizer = load(root / name).eval(), Tokenizer.load(root / name)
            asked = _asked(recipe, decoder, tokenizer)
            for kind in ("f32", "f16", "q8_0", "q4_0"):
                table.add_row(name, kind, *_row(export(root / name, Path(out) / name, kind), decoder, asked))
    Console(width=120).print(table)


def _asked(recipe: Recipe, decoder: Decoder, tokenizer: Tokenizer) -> list[Asked]:
    room = recipe.measure.max_new_tokens
    prompts = [fitted(encode_prompt(tokenizer, question.prompt), decoder, room) for question in _questions(recipe)]
    answers = generate(decoder, prompts, room)
    end = tokenizer.turn_end_id
    # an answer that ran out of room has no end
    whole = [answer if len(answer) == room else [*answer, end] for answer in answers]
    return [Asked(prompt=prompt, answer=answer) for prompt, answer in zip(prompts, whole, strict=True)]


def _questions(recipe: Recipe) -> list[Question]:
    """The first questions of all tasks in turn."""
    by_task = [asked for _, asked in test_questions(recipe, own_exams(recipe))]
    return [question for question in chain(*zip_longest(*by_task)) if question is not None][:_QUESTIONS]


def _row(exported: Exported, decoder: Decoder, asked: Sequence[Asked]) -> tuple[str, ...]:
    context = max(len(each.prompt) + len(each.answer) for each in asked) + 8
    with LlamaCpp(exported.path, "f32" if exported.kind == "f32" else "f16", context=context) as engine:
        said = [engine.greedy(each.prompt, len(each.answer)) for each in asked]
        apart = [_first_difference(each, other) for each, other in zip(asked, said, strict=True)]
        gaps = [_gap(decoder, each, at) for each, at in zip(asked, apart, strict=True) if at is not None]
        same, lost, count = _along(engine, decoder, asked)
    ties = f"{sum(gap < _NEAR for gap in gaps)} of {len(gaps)}" if gaps else "–"
    return (
        f"{exported.bytes / 1e6:.2f}",
        str(len(exported.fallbacks) or "–"),
        f"{len(asked) - len(gaps)} of {len(asked)}",
        f"{100 * same / count:.2f} % of {count}",
        f"{lost / count:.5f}",
        ties,
    )


def _first_difference(asked: Asked, said: Sequence[int]) -> int | None:
    pairs = zip(asked.answer, said, strict=True)
    return next((at for at, (ours, theirs) in enumerate(pairs) if ours != theirs), None)


def _gap(decoder: Decoder, asked: Asked, at: int) -> float:
    """How far our two likeliest tokens were apart where llama.cpp took another."""
    first, second = _scores(decoder, asked)[at].topk(2).values
    return float(first - second)


def _along(engine: LlamaCpp, decoder: Decoder, asked: Sequence[Asked]) -> tuple[int, float, int]:
    """Along our answers: how often llama.cpp would say the same next, the log p that it gives less, how many tokens."""
    same, lost, count = 0, 0.0, 0
    for each in asked:
        ours = torch.log_softmax(_scores(decoder, each), -1)
        for at, token in enumerate(each.answer):
            found = engine.log_probabilities([*each.prompt, *each.answer[:at]], 20)
            same += found[0][0] == token
            # a token that is not among the likeliest has at most the share of the last of them
            lost += float(ours[at, token]) - dict(found).get(token, found[-1][1])
            count += 1
    return same, lost, count


@torch.no_grad()
def _scores(decoder: Decoder, asked: Asked) -> torch.Tensor:
    """Our logits of every token of the answer, [time, vocab]."""
    tokens = torch.tensor([asked.prompt + asked.answer[:-1]])
    hidden = decoder(tokens, torch.arange(tokens.shape[1])[None], torch.zeros_like(tokens))
    return decoder.logits(hidden)[0, len(asked.prompt) - 1 :]


if __name__ == "__main__":
    main()
