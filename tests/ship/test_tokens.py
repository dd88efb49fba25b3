"""llama.cpp makes of any text the same tokens as the tokenizer does here, and as Transformers'."""

import unicodedata
from dataclasses import replace
from random import Random

import pytest
from fakes import TINY, member
from transformers import AutoTokenizer

from minikin.ship.gguf import export
from minikin.ship.llamacpp import LlamaCpp
from minikin.text.chat import chat_template
from minikin.text.tokenizer import Tokenizer

PIECES = [
    "der Mann",
    "schöne Äpfel",
    "Straße",
    "Grüße",
    "don't",
    "1234567890",
    "3.14",
    " ",
    "   ",
    "\n",
    "\n\n\n",
    "\t",
    "\r\n",
    "▁",
    "😀",
    "👩‍👩‍👧‍👦",
    "🇩🇪",
    "é",
    "e\u0301",
    "日本語",
    "<bos>",
    "<|turn>user\n",
    "<turn|>",
    "<eos><pad><unk>",
    "<0x41>",
    "<unused3>",
    "\u200b",
    "\u00a0",
    "\ufeff",
    "\x00",
    "…",
    "!?",
    "{{ x }}",
]


SYLLABLES = [
    "ge",
    "schö",
    "ne",
    "Äp",
    "fel",
    "wald",
    "Stra",
    "ße",
    "der",
    "ing",
    "the",
    "qu",
    "é",
    "12",
    "'s",
    "Ü",
    "日本",
]


def words(chance):
    return "".join(
        "".join(chance.choices(SYLLABLES, k=chance.randint(1, 3))) + chance.choice(" .,!?\n ") for _ in "123456"
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder, chance = tmp_path_factory.mktemp("member"), Random(2)
    member(folder, replace(TINY, vocab_size=1000))
    trained = Tokenizer.train([words(chance) for _ in range(3000)], 1000)
    trained.save(folder, 64, chat_template())
    export(folder, folder / "member.gguf", "f32")
    return folder


@pytest.fixture(scope="module")
def engine(folder):
    with LlamaCpp(folder / "member.gguf", context=256) as engine:
        yield engine


def any_letter(chance):
    """Latin, an alphabet, a combining accent, an astral plane, or anything but half a surrogate pair."""
    ranges = [(0, 0x7F), (0x80, 0x24F), (0x300, 0x36F), (0x370, 0xFFF), (0x1F300, 0x1FAFF), (0x10000, 0x10FFFF)]
    code = chance.randint(*chance.choice([*ranges, (0, 0xFFFF)]))
    return "?" if 0xD800 <= code <= 0xDFFF else chr(code)


def random_texts():
    chance = Random(1)
    for number in range(10_000):
        text = "".join(any_letter(chance) for _ in range(chance.randint(0, 24)))
        yield unicodedata.normalize("NFD", text) if number % 3 == 0 else text
    for _ in range(1_000):
        yield "".join(chance.choices(PIECES, k=chance.randint(1, 12)))
    for _ in range(1_000):
        yield words(chance)
    yield from (*PIECES, "", "a" * 3000, " " * 300, "\n" * 300, "der Mann geht in den Wald. " * 100)


def test_any_text_has_the_same_tokens_everywhere(folder, engine):
    ours, theirs = Tokenizer.load(folder), AutoTokenizer.from_pretrained(folder)
    texts = list(random_texts())
    different = []
    for start in range(0, len(texts), 2000):
        some = texts[start : start + 2000]
        for text, found in zip(some, engine.tokenize_all(some), strict=True):
            if found != ours.encode(text):
                different.append((text, found, ours.encode(text)))
    assert not different, f"{len(different)} of {len(texts)}, the first {different[0]}"
    whole = theirs(texts, add_special_tokens=False, split_special_tokens=True)["input_ids"]
    assert whole == [ours.encode(text) for text in texts]


def test_asking_for_many_is_asking_for_each(engine):
    texts = ["der Mann", "", "\n<bos>\n", "😀"]
    assert engine.tokenize_all(texts) == [engine.tokenize(text) for text in texts]


def test_markup_is_read_only_when_asked_for(engine):
    assert engine.tokenize("<bos><turn|>", parse_special=True) == [2, 5]
    assert len(engine.tokenize("<bos><turn|>")) > 2
    assert engine.tokenize("a", add_special=True)[:1] == [2]
