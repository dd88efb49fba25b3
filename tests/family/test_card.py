"""Model cards say what a member keeps as the report does: with intervals, short names, and nothing near chance."""

import pytest
from fakes import site

from minikin.family.card import Scored, card
from minikin.measure.records import Interval

FACTS = {
    "parent": "full",
    "origin": None,
    "teacher": "full",
    "tokens": 1000,
    "steps": 10,
    "seed": 1,
    "minikin": "1.0",
}
SOURCES = "data.dialogue.train=['/home/me/sgd/train.jsonl.gz', 'dailydialog/train.jsonl.gz', 'hub:somebody/talks']"


def interval(value, width=1.0):
    return Interval(value=value, low=value - width, high=value + width, n=40)


def scored(against="full"):
    scores = {"translation": {"bleu": interval(30.0), "chrf": interval(8.0)}}
    kept = {"translation": {"bleu": interval(0.9, 0.05), "chrf": interval(1.4, 0.5)}}
    reference = {"translation": {"bleu": interval(33.0), "chrf": interval(6.5)}} if against else {}
    chance = {"bleu": 1.0, "chrf": 6.0}
    return Scored(scores=scores, retention=kept, against=against, reference=reference, chance=chance)


@pytest.fixture
def given(tmp_path):
    return site(tmp_path, SOURCES)


def test_shares_have_their_interval_and_none_is_said_too_close_to_chance(given):
    told = card(given, "mini", FACTS, scored())
    assert (
        "| task | metric | score, 95 % interval | keeps of `full` | n |\n| --- | --- | ---: | ---: | ---: |\n" in told
    )
    assert "| translation | bleu | 30.0 [29.0, 31.0] | 90.0 % [85.0, 95.0] | 40 |\n" in told
    assert "| translation | chrf | 8.0 [7.0, 9.0] | – | 40 |\n" in told
    assert "\n–: the score of `full` is too close to chance to compare.\n" in told


def test_the_first_member_is_held_against_nobody(given):
    told = card(given, "full", FACTS | {"parent": None, "teacher": None}, scored(against=""))
    assert "| translation | bleu | 30.0 [29.0, 31.0] | 40 |\n" in told
    assert "keeps" not in told


def test_sources_and_checkpoints_have_their_short_names(given):
    told = card(given, "mini", FACTS | {"origin": "/home/me/gemma"}, None)
    assert "- dialogue: sgd, dailydialog, talks\n" in told
    assert "Taken from `gemma`" in told
    assert "/home" not in told
    assert "Taken from `google/gemma`" in card(given, "mini", FACTS | {"origin": "google/gemma"}, None)
