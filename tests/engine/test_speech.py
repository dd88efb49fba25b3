"""Text grows by whole characters, equals what all tokens decode to, and ends before a stop sequence."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minikin.engine.speech import Speech, Stops
from minikin.text.tokenizer import Tokenizer

TOKENIZER = Tokenizer.train(["the cat sat on the mat, the hat", "Die Größe des Bären"], 320)


def spoken(text, stops=()):
    speech, until, said = Speech(TOKENIZER), Stops(stops), []
    for token in TOKENIZER.encode(text):
        said.append(until.more(speech.more(token)))
        assert "\ufffd" not in said[-1] or "\ufffd" in text
        if until.reached:
            return said, until
    return [*said, until.more(speech.rest()), until.rest()], until


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="▁\ufffd")))
@settings(max_examples=300, deadline=None)
def test_all_that_is_said_is_the_text(text):
    assert "".join(spoken(text)[0]) == text


WORDS = [token for token in range(TOKENIZER.vocab_size) if not TOKENIZER.decode([token]).startswith("\ufffd")]
CHARACTERS = st.text(st.characters(exclude_categories=["Cs"]) | st.just("\ufffd"), max_size=3)


def byte_tokens(spelt):
    return [TOKENIZER.encode("\x00")[0] + byte for byte in spelt]


def said_of(tokens):
    speech = Speech(TOKENIZER)
    return "".join([*(speech.more(token) for token in tokens), speech.rest()])


@given(st.lists(st.sampled_from(WORDS) | CHARACTERS))
@settings(max_examples=500)
def test_tokens_one_by_one_say_what_they_decode_to_at_once(words):
    # whole words, special tokens, leading spaces, characters byte by byte, in any order
    tokens = [token for word in words for token in ([word] if isinstance(word, int) else byte_tokens(word.encode()))]
    assert said_of(tokens) == TOKENIZER.decode(tokens)


@given(CHARACTERS, st.binary(max_size=6))
def test_what_was_said_stays_said_whatever_bytes_come_behind(text, behind):
    tokens = byte_tokens(text.encode())
    assert said_of([*tokens, *byte_tokens(behind)]).startswith(said_of(tokens))


def test_bytes_that_make_no_character_are_as_many_as_they_are():
    assert said_of(byte_tokens(b"\xc3\xa9\xff\xff\xff\xff")) == "é" + "\ufffd" * 4


@pytest.mark.parametrize("word", [" mat", "é", "\ufffd", "🐻"])
def test_a_token_is_read_with_no_more_than_the_bytes_of_a_character(word, monkeypatch):
    sizes, plain = [], Tokenizer.decode
    monkeypatch.setattr(Tokenizer, "decode", lambda self, ids: sizes.append(len(ids)) or plain(self, ids))
    assert said_of(TOKENIZER.encode(word) * 200) == word * 200
    assert max(sizes) <= 4


@given(st.text("ab ", max_size=30), st.lists(st.text("ab ", min_size=1, max_size=4), max_size=3))
@settings(max_examples=500, deadline=None)
def test_nothing_from_a_stop_sequence_on_is_said(text, stops):
    said, until = spoken(text, stops)
    whole = "".join(said)
    assert until.reached == any(stop in text for stop in stops)
    assert not any(stop in whole for stop in stops)
    if until.reached:  # the one that was complete first
        assert any((whole + stop) == text[: len(whole) + len(stop)] for stop in stops)
    else:
        assert whole == text


@pytest.mark.parametrize("text", ["Bären 🐻‍❄️ é", "日本語", " leading and trailing  "])
def test_characters_of_many_bytes_come_whole(text):
    assert "".join(spoken(text)[0]) == text


def test_tokens_without_a_text_do_not_come_between_bytes():
    speech, (first, second) = Speech(TOKENIZER), TOKENIZER.encode("é")
    said = [speech.more(token) for token in (first, *[TOKENIZER.eos_id] * 6, second)]
    assert "".join(said) == "é"


def test_bytes_that_never_make_a_character_are_not_waited_for():
    speech = Speech(TOKENIZER)
    byte = TOKENIZER.encode("é")[0]
    said = [speech.more(byte) for _ in range(9)]
    assert "".join(said) == "\ufffd" * 8
    assert max(map(len, said)) == 4


def test_bytes_that_make_no_character_are_told_at_the_end():
    speech = Speech(TOKENIZER)
    byte = TOKENIZER.encode("é")[0]
    assert speech.more(byte) == ""
    assert speech.rest() == "\ufffd"
