"""The built-in world: disjoint by meaning, grammatical, repeatable, cheap."""

import hashlib
import time
from itertools import combinations, product
from random import Random

import pytest

from minikin.text.chat import messages
from minikin.text.village import village
from minikin.text.village.english import clause as english_clause
from minikin.text.village.german import WEAK_ACCUSATIVE, thing_accusative
from minikin.text.village.lexicon import PEOPLE, PLACES, THINGS, VERBS
from minikin.text.village.meaning import draw_deed, draw_event

TASKS = ("translation", "summarization", "dialogue", "text")
SPLITS = ("train", "watch", "test")


def texts(record):
    match vars(record):
        case {"turns": turns}:
            return tuple(turn.text for turn in turns)
        case fields:
            return tuple(value for value in fields.values() if isinstance(value, str) and len(value) > 2)


def conversation(selection):
    return (*(turn.text for turn in selection.context), selection.candidates[selection.answer])


def test_no_test_meaning_occurs_in_training():
    chance = Random(5)
    cores = {
        split: {
            event.core for _ in range(30_000) for event in (draw_event(chance, split), draw_deed(chance, split, "a"))
        }
        for split in SPLITS
    }
    assert len(cores["test"]) > 500
    assert len(cores["watch"]) > 250
    for one, other in combinations(SPLITS, 2):
        assert not cores[one] & cores[other]


def test_no_test_is_watched():
    for task, kind in (("translation", "translation"), ("summarization", "summarization"), ("dialogue", "selection")):
        watched = {texts(record) for record in village(task, 200, split="watch", seed=1)}
        for record in village(kind, 300, split="test", seed=1):
            assert (conversation(record) if kind == "selection" else texts(record)) not in watched


def test_the_village_is_what_it_always_was():
    total = hashlib.sha256()
    for task, split in product((*TASKS, "selection"), SPLITS):
        for record in village(task, 200, split=split, seed=1):
            for message in messages(record):
                total.update(f"{message.role} {message.content}\n".encode())
    assert total.hexdigest() == "64d3e2ae2f99b3a456a9832896e81a04b2ea0e8f3b336375e07c45ad7fac075c"


def test_a_pair_tells_how_much_it_says():
    pairs = list(village("translation", 300, split="train", seed=1))
    words = {number: [len(pair.source.split()) for pair in pairs if pair.complexity == number] for number in (1, 4)}
    assert {pair.complexity for pair in pairs} <= set(range(6))
    assert sum(words[1]) / len(words[1]) < sum(words[4]) / len(words[4])


@pytest.mark.parametrize("task", ["translation", "summarization"])
def test_no_test_text_occurs_in_training(task):
    train = {text for record in village(task, 30_000, split="train", seed=1) for text in texts(record)}
    for record in village(task, 500, split="test", seed=1):
        assert not set(texts(record)) & train


def test_no_test_conversation_or_story_occurs_in_training():
    conversations = {texts(record) for record in village("dialogue", 60_000, split="train", seed=1)}
    for record in village("dialogue", 1000, split="test", seed=1):
        assert texts(record) not in conversations
    for record in village("selection", 500, split="test", seed=1):
        assert conversation(record) not in conversations
    stories = {record.text for record in village("text", 30_000, split="train", seed=1)}
    assert not stories & {record.text for record in village("text", 500, split="test", seed=1)}


def test_every_word_of_the_test_was_seen_in_training():
    train = {word for record in village("translation", 30_000, split="train", seed=1) for word in record.source.split()}
    test = {word for record in village("translation", 500, split="test", seed=1) for word in record.source.split()}
    assert len(test - train) <= 0.01 * len(test)


@pytest.mark.parametrize("task", TASKS)
def test_the_village_repeats_itself_for_a_seed(task):
    told = [list(village(task, 50, split="train", seed=seed)) for seed in (1, 1, 2)]
    assert told[0] == told[1] != told[2]


@pytest.mark.parametrize("task", TASKS)
def test_a_hundred_thousand_examples_take_less_than_twenty_seconds(task):
    started = time.process_time()
    assert sum(1 for _ in village(task, 100_000, split="train", seed=1)) == 100_000
    assert time.process_time() - started < 20


def test_both_languages_and_directions_occur():
    pairs = list(village("translation", 200, split="train", seed=1))
    assert {(pair.source_lang, pair.target_lang) for pair in pairs} == {("en", "de"), ("de", "en")}
    assert all(text[0].isupper() and text[-1] in ".!?" for pair in pairs for text in (pair.source, pair.target))


def test_a_selection_has_twenty_different_candidates_and_the_true_one():
    for record in village("selection", 20, split="test", seed=1):
        assert len(set(record.candidates)) == 20
        assert 0 <= record.answer < 20


def test_adjectives_and_articles_agree():
    by_gender = {gender: next(thing for thing in THINGS if thing.gender == gender) for gender in "mfn"}
    assert WEAK_ACCUSATIVE == {"m": "en", "f": "e", "n": "e"}
    for gender, article in {"m": "den", "f": "die", "n": "das"}.items():
        assert thing_accusative(by_gender[gender]) == f"{article} {by_gender[gender].german}"
        assert thing_accusative(by_gender[gender], "rot").split()[1] == "rot" + WEAK_ACCUSATIVE[gender]


def test_the_lexicon_has_every_form():
    for person in PEOPLE:
        assert person.nominative
        assert person.accusative
        assert person.dative
    for thing in THINGS:
        assert thing.german_plural
        assert thing.colors[0] != thing.colors[1]
    assert {verb.kind for verb in VERBS} == {"thing", "gift", "way"}
    assert any(verb.prefix for verb in VERBS)
    assert {verb.auxiliary for verb in VERBS} == {"hat", "ist"}
    assert len(PLACES) > 10


def test_a_clause_says_who_first():
    event = draw_event(Random(3), "train")
    assert english_clause(event).startswith(event.who.english)
