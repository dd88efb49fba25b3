"""ROUGE counts words of every script, and those of ASCII texts as rouge-score does."""

import string
from random import Random
from unicodedata import normalize

import pytest
from fakes import answers
from hypothesis import given
from hypothesis import strategies as some
from rouge_score.tokenizers import DefaultTokenizer

from minikin.measure.any_script import AnyScript
from minikin.measure.metrics import metrics_of, sentence_score

WORDS = AnyScript().tokenize
ASCII = "".join(map(chr, range(128)))
# endings that Porter's stemmer looks for, so that stemming is tried as well
ENDINGS = ("", "s", "es", "ies", "ing", "ings", "ational", "fulness", "ed", "eed", "Ly", "IZER", "'s", "_x")


def drawn(chance):
    """A text of words, of words with endings, and of any ASCII signs."""
    words = ("".join(chance.choices(string.ascii_letters, k=chance.randint(1, 7))) for _ in range(6))
    ended = [word + chance.choice(ENDINGS) for word in words]
    return chance.choice(" \t-.").join([*ended, "".join(chance.choices(ASCII, k=chance.randint(0, 30)))])


def test_ascii_texts_have_rouge_scores_own_words():
    chance, theirs = Random(1), DefaultTokenizer(use_stemmer=True)
    texts = [drawn(chance) for _ in range(600)]
    assert [WORDS(text) for text in texts] == [theirs.tokenize(text) for text in texts]
    unstemmed = DefaultTokenizer()
    assert sum(WORDS(text) != unstemmed.tokenize(text) for text in texts) > 300


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Das Mädchen, größer!", ["das", "mädchen", "größer"]),
        ("Ma\u0308dchen", ["mädchen"]),
        ("ein_Wort Straße_2", ["ein", "wort", "straße", "2"]),
        ("Привет, мир!", ["привет", "мир"]),
        ("L’été à İzmir", ["l", "été", "à", "i\u0307zmir"]),
        ("हिन्दी में", ["हिन्दी", "में"]),
        ("한국어 문장", ["한국어", "문장"]),
        ("今日はTokyoで3回、中文", ["今", "日", "は", "tokyo", "で", "3", "回", "中", "文"]),
        ("ที่นี่", ["ที่", "นี่"]),
        ("so ❤\ufe0f — …", ["so"]),
    ],
)
def test_words_of_other_scripts_are_whole(text, words):
    assert WORDS(text) == words


@given(some.text())
def test_no_letter_is_lost(text):
    lowered = normalize("NFC", text.lower())
    kept = "".join(AnyScript().tokenize(text))
    # what is stemmed loses letters, and is ASCII
    assert [each for each in kept if each.isalpha() and not each.isascii()] == [
        each for each in lowered if each.isalpha() and not each.isascii()
    ]


@pytest.mark.parametrize(
    "text",
    ["Кошка сидит на окне и смотрит во двор.", "Élève, où étés-tu né à Noël ?", "Τα παιδιά παίζουν.", "猫在窗台上。"],
)
def test_a_text_of_any_script_scores_100_against_itself_and_0_against_another(text):
    same, other = answers("summarization", [text, "Ещё один"], [(text,), (text,)])
    for metric in metrics_of("summarization"):
        assert metric.score(metric.table([same]).sum(0)) == pytest.approx(100)
        assert metric.score(metric.table([other]).sum(0)) == 0
    assert sentence_score(same) == pytest.approx(100)


def test_half_the_words_are_half_the_score():
    (half,) = answers("summarization", ["Кошка спит"], [("Кошка сидит",)])
    assert sentence_score(half) == pytest.approx(50)
