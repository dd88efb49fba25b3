"""What of a test is in the training data: found where it was put, and nowhere else."""

import random
import tracemalloc
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minikin.text.overlap import normalized, overlaps
from minikin.text.records import Dialogue, Selection, Summarization, Text, Translation, Turn
from minikin.text.village import village

WORDS = [a + b + c for a in "bdgklm" for b in "aeiou" for c in "nrst"]


def said(count, seed):
    return " ".join(random.Random(seed).choices(WORDS, k=count))


def pair(seed, count=9):
    return Translation(source=said(count, seed), target=said(count, -seed), source_lang="en", target_lang="de")


def dialogue(seed, turns=4):
    return Dialogue(turns=tuple(Turn(role="ab"[n % 2], text=said(9, f"{seed} {n}")) for n in range(turns)))


def selection(talk, turns):
    *context, last = talk.turns[:turns]
    return Selection(context=tuple(context), role=last.role, candidates=("other", last.text), answer=1)


def counted(tests, training):
    found = overlaps({"task": tests}, training)["task"]
    assert found.examples == len(tests)
    return found.exact, found.near


def document(talk):
    return "\n".join(f"#Person{turn.role}#: {turn.text.upper()}!" for turn in talk.turns)


TALK = dialogue(1)
# (test, training, exact and near)
CASES = {
    "nothing": ([pair(1)], [pair(2)], (0, 0)),
    "itself": ([pair(1)], [pair(1)], (1, 0)),
    "one side in the other language": ([pair(1)], [replace(pair(2), target=f"«{pair(1).source.upper()}»…")], (1, 0)),
    "one word more": ([pair(1)], [replace(pair(2), source=f"{pair(1).source} ban")], (0, 1)),
    "half of it": ([pair(1, 20)], [replace(pair(2), source=" ".join(pair(1, 20).source.split()[:10]))], (0, 0)),
    "halves in two records": (
        [pair(1, 20)],
        [Text(text=" ".join(pair(1, 20).source.split()[part])) for part in (slice(12), slice(8, 20))],
        (0, 0),
    ),
    "too short for a run, and other": ([pair(1, 3)], [replace(pair(1, 3), source="x", target="y")], (0, 0)),
    "a line of plain text": ([pair(1)], [Text(text=f"before\n{pair(1).target}\nafter")], (1, 0)),
    "a dialogue that begins so": ([selection(TALK, 3)], [TALK], (1, 0)),
    "a dialogue in the middle": ([Dialogue(turns=TALK.turns[1:3])], [TALK], (0, 1)),
    "a dialogue as a document": ([TALK], [Summarization(document=document(TALK), summary="short")], (1, 0)),
    "a document as a dialogue": ([Summarization(document=document(TALK), summary="short")], [TALK], (1, 0)),
    "a summary that recurs": (
        [Summarization(document=said(30, 1), summary="Agreement")],
        [Summarization(document=said(30, 2), summary="Agreement")],
        (0, 0),
    ),
    "signs without words": ([replace(pair(1), source="?!")], [replace(pair(2), source="…")], (0, 0)),
    "no training": ([pair(1)], [], (0, 0)),
}


@pytest.mark.parametrize(("tests", "training", "found"), CASES.values(), ids=CASES)
def test_what_is_there_is_counted_and_nothing_else(tests, training, found):
    assert counted(tests, training) == found


@given(st.lists(st.text(min_size=1), min_size=1, max_size=3), st.text())
def test_every_text_is_found_in_itself(texts, other):
    records = [Summarization(document=text, summary="s") for text in texts]
    spoken = sum(bool(normalized(text)) for text in texts)
    assert counted(records, [Text(text="\n" + other), *records]) == (spoken, 0)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Don’t — STOP!", ["don", "t", "stop"]),
        ("#Person1#: Straße", ["strasse"]),
        ("我喜欢猫。", ["我", "喜", "欢", "猫"]),
        ("हिन्दी में", ["हिन्दी", "में"]),
        ("sch\u006f\u0308n", ["schön"]),
        ("Zu\u00adcker\u200b", ["zucker"]),
        ("in the end: nothing at all", ["in", "the", "end", "nothing", "at", "all"]),
        ("", []),
    ],
)
def test_texts_are_compared_by_words(text, words):
    assert normalized(text) == words


def test_tasks_are_told_apart_and_a_few_are_shown():
    found = overlaps(
        {"one": [pair(seed) for seed in range(9)], "other": [dialogue(1)]}, (pair(seed) for seed in range(7))
    )
    assert (found["one"].exact, found["other"].exact) == (7, 0)
    assert found["one"].shown_exact == tuple(f"{pair(n).source} → {pair(n).target}" for n in range(5))


def test_of_the_villages_test_nothing_is_in_training_word_for_word():
    tasks = {"translation": 6_000, "summarization": 2_000, "dialogue": 2_000, "text": 500}
    tests = {
        task: list(village(task, 200, split="test", seed=1)) for task in ("translation", "summarization", "selection")
    }
    found = overlaps(
        tests, (record for task, count in tasks.items() for record in village(task, count, split="train", seed=1))
    )
    assert [overlap.exact for overlap in found.values()] == [0, 0, 0]


def test_training_data_passes_by_without_being_kept():
    def peak(count):
        tracemalloc.start()
        overlaps({"task": [pair(seed) for seed in range(20)]}, (pair(seed) for seed in range(100, 100 + count)))
        reached = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return reached

    peak(10)
    assert peak(2000) < 1.1 * peak(200)
