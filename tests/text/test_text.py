"""Tokenizer, chat, corpus and batches: nothing is lost, nothing is mixed, everything repeats."""

import os
import subprocess
import sys
import tracemalloc
from collections import Counter
from pathlib import Path

import numpy
import psutil
import pytest
import tokenizers
import torch
from fakes import corpus, mixture, tokenizer
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoTokenizer

from minikin.base.errors import DataError, TokenizerError
from minikin.text import packing
from minikin.text.batches import PackedCorpus
from minikin.text.chat import chat_template, encode_example, encode_prompt, encode_reply, messages
from minikin.text.mixture import apportioned
from minikin.text.packing import Rows, pack, pieces
from minikin.text.records import Dialogue, Summarization, Text, Translation, Turn
from minikin.text.tokenizer import SPECIALS, Tokenizer

TOKENIZER = tokenizer()
RECORDS = [
    Translation(source="The man, 12.", target="Der Mann, 12.", source_lang="en", target_lang="de"),
    Summarization(document="Grüße aus dem Dorf.\nSchön!", summary="Grüße"),
    Dialogue(turns=(Turn(role="user", text="Hallo"), Turn(role="assistant", text="Guten Tag"))),
]


@given(st.text())
def test_text_survives_encoding(text):
    text = text.encode("utf-8", "ignore").decode()
    # a literal ▁ comes back as a space, as in Gemma
    assert TOKENIZER.decode(TOKENIZER.encode(text)) == text.replace("▁", " ")


def test_texts_are_not_remembered():
    def encode(numbers):
        for number in numbers:
            TOKENIZER.encode(f"This is a text that nobody has written before, and it ends with {number}.")

    encode(range(1_000))
    before = psutil.Process().memory_info().rss
    encode(range(1_000, 9_000))
    assert psutil.Process().memory_info().rss - before < 4e6  # 20 MB, were the library to keep them


@pytest.mark.parametrize("special", SPECIALS)
def test_text_that_spells_a_special_token_is_text(special):
    ids = TOKENIZER.encode(f"a {special} b")
    assert not set(ids) & set(range(len(SPECIALS)))
    assert TOKENIZER.decode(ids) == f"a {special} b"


def test_transformers_reads_the_same_tokens_and_turns(tmp_path):
    TOKENIZER.save(tmp_path, 64, chat_template())
    theirs = AutoTokenizer.from_pretrained(tmp_path)
    for record in RECORDS:
        chat = [{"role": message.role, "content": message.content} for message in messages(record)]
        assert theirs.apply_chat_template(chat)["input_ids"] == encode_example(TOKENIZER, record).tokens
        asked = theirs.apply_chat_template(chat[:-1], add_generation_prompt=True)["input_ids"]
        assert asked == encode_prompt(TOKENIZER, messages(record)[:-1])
    for text in ("Grüße, 12 Äpfel!", "a  b\n\n\tc", "😀 ▁ é"):
        assert theirs.encode(text, add_special_tokens=False) == TOKENIZER.encode(text)


def test_a_saved_tokenizer_is_the_same_when_loaded(tmp_path):
    TOKENIZER.save(tmp_path, 64, chat_template())
    assert Tokenizer.load(tmp_path).encode("Der Mann geht") == TOKENIZER.encode("Der Mann geht")


def test_training_again_makes_the_same_tokenizer(tmp_path):
    # 300 entries leave room for fewer characters than these lines have, many of them equally frequent
    code = "import sys; from pathlib import Path; from fakes import tokenizer\n"
    code += "tokenizer(300).save(Path(sys.argv[1]), 64, '')"
    for seed in ("1", "2"):
        (tmp_path / seed).mkdir()
        places = os.pathsep.join((str(Path(__file__).parents[1]), *sys.path))
        environment = os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": places}
        subprocess.run([sys.executable, "-c", code, tmp_path / seed], env=environment, check=True)
    first, second = ((tmp_path / seed / "tokenizer.json").read_bytes() for seed in ("1", "2"))
    assert first == second


def test_of_equally_frequent_characters_the_first_become_tokens():
    bytes_and_specials = 256 + len(SPECIALS)
    trained = Tokenizer.train(iter(["ccc bb aa dd"]), bytes_and_specials + 6)  # half of six, of ▁ and four letters
    assert [letter for letter in "abcd▁" if trained.encode(letter)[0] >= bytes_and_specials] == ["a", "c", "▁"]


@pytest.mark.parametrize(
    ("content", "said"),
    [("{", "is damaged"), ('{"model": {"type": "WordPiece"}}', "'WordPiece' tokenizer; only"), (None, "has no")],
)
def test_a_strange_tokenizer_is_refused(tmp_path, content, said):
    if content is not None:
        (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(TokenizerError, match=said):
        Tokenizer.load(tmp_path)


def test_a_vocabulary_too_small_is_refused():
    with pytest.raises(DataError, match="vocab_size: found 100; at least"):
        Tokenizer.train(["text"], 100)


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: type(record).__name__)
def test_only_the_answer_and_its_end_count(record):
    example = encode_example(TOKENIZER, record)
    said = [token for token, counts in zip(example.tokens, example.answer, strict=True) if counts]
    assert said == encode_reply(TOKENIZER, messages(record)[-1].content)


def test_every_token_of_plain_text_counts():
    assert all(encode_example(TOKENIZER, Text(text="Der Mann")).answer)


def test_packing_loses_no_token_and_fits(tmp_path):
    written, length = corpus(tmp_path, count=200, longest=50), 32
    packed = PackedCorpus(written, length, 0.1)
    stretches = [piece for (row,) in packed.rows for piece in row]
    assert sorted(stretches) == sorted(pieces(written.starts, length))
    assert sum(count for _, count in stretches) == written.size.tokens
    assert all(sum(count for _, count in row) <= length for (row,) in packed.rows)
    assert written.size.tokens / (len(packed) * length) > 0.95


def test_documents_packed_apart_lose_no_token_either(tmp_path, monkeypatch):
    monkeypatch.setattr(packing, "_TOGETHER", 30)
    written = corpus(tmp_path, count=200, longest=50)
    packed = PackedCorpus(written, 64, 0.1, block=32)
    assert {len(row) for row in packed.rows} <= {1, 2}
    assert sorted(piece for row in packed.rows for block in row for piece in block) == sorted(
        pieces(written.starts, 32)
    )
    assert written.size.tokens / (len(packed) * 64) > 0.9


def test_many_documents_need_little_memory():
    documents = 400_000
    starts = numpy.arange(documents + 1, dtype=numpy.int64) * 20
    tracemalloc.start()
    rows = Rows(pieces(starts, 128), 128, 1)
    held, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(rows) == -(-packing._TOGETHER // 6) + -(-(documents - packing._TOGETHER) // 6)
    assert held < 30 * documents
    assert peak < held + 400 * packing._TOGETHER


def test_a_row_holds_its_documents_side_by_side(tmp_path):
    written = corpus(tmp_path)
    packed = PackedCorpus(written, 64, 0.25)
    batch = packed.batch(range(len(packed)))
    for index, (row,) in enumerate(packed.rows):
        at = 0
        for number, (first, count) in enumerate(row):
            here = slice(at, at + count)
            assert batch.tokens[index, here].tolist() == written.tokens[first : first + count].tolist()
            assert batch.documents[index, here].tolist() == [number] * count
            assert batch.positions[index, here].tolist() == list(range(count))
            assert batch.targets[index, here][:-1].tolist() == batch.tokens[index, here][1:].tolist()
            expected = numpy.where(written.answer[first + 1 : first + count], 1.0, 0.25)
            assert batch.weights[index, here][:-1].tolist() == expected.tolist()
            # nothing is asked across a document's end
            assert batch.weights[index, at + count - 1] == 0
            at += count
        assert (batch.documents[index, at:] == -1).all()
        assert (batch.weights[index, at:] == 0).all()


@given(st.lists(st.integers(1, 16), min_size=1, max_size=60))
def test_best_fit_needs_at_most_one_half_empty_row(lengths):
    rows = pack([(index, length) for index, length in enumerate(lengths)], 16)
    filled = sorted(sum(length for _, length in row) for row in rows)
    assert sum(filled) == sum(lengths)
    assert sum(2 * fill <= 16 for fill in filled) <= 1


def test_batches_are_a_function_of_the_step(tmp_path):
    one, other = mixture(tmp_path / "one"), mixture(tmp_path / "two")
    forward = [one.batch(step).tokens for step in range(30)]
    for step in (29, 3, 17, 0):
        assert torch.equal(other.batch(step).tokens, forward[step])


def test_an_epoch_sees_every_row_once(tmp_path):
    rows = mixture(tmp_path, batch_rows=1)
    shares = {share.name: share.rows for share in rows._shares}
    steps = 3 * len(shares["a"])
    seen = Counter(tuple(rows.batch(step).tokens[0].tolist()) for step in range(steps))
    epochs = rows.epochs(steps)
    assert epochs["a"] == pytest.approx(2, abs=0.05)
    for row in shares["a"].batch(range(len(shares["a"]))).tokens.tolist():
        assert seen[tuple(row)] in (int(epochs["a"]), int(epochs["a"]) + 1)


@given(st.lists(st.floats(0.1, 10), min_size=1, max_size=5))
def test_everybody_has_their_part_at_every_moment(shares):
    owners, turns = apportioned(shares)
    for owner, share in enumerate(shares):
        mine = owners == owner
        expected = share / sum(shares) * numpy.arange(1, len(owners) + 1)
        assert (abs(mine.cumsum() - expected) < len(shares)).all()
        assert turns[mine].tolist() == list(range(mine.sum()))
        assert mine.sum() > 90


def test_a_tokenizer_that_cuts_or_pads_does_neither_here(tmp_path):
    TOKENIZER.save(tmp_path, 64, "")
    path = tmp_path / "tokenizer.json"
    inner = tokenizers.Tokenizer.from_file(str(path))
    inner.enable_truncation(4)
    inner.enable_padding(length=50)
    inner.save(str(path))
    assert Tokenizer.load(tmp_path).encode("Der Mann geht in den Wald") == TOKENIZER.encode("Der Mann geht in den Wald")


def test_documents_keep_within_the_blocks_of_a_row(tmp_path):
    rows = PackedCorpus(corpus(tmp_path / "corpus", count=200, longest=40), 64, 0.5, block=16)
    batch = rows.batch(range(len(rows)))
    for border in (16, 32, 48):
        before, after = batch.documents[:, border - 1], batch.documents[:, border]
        assert ((before != after) | (before < 0)).all()
    whole = PackedCorpus(rows.corpus, 64, 0.5)
    assert (batch.documents >= 0).sum() == (whole.batch(range(len(whole))).documents >= 0).sum()
    assert sorted(batch.tokens[batch.documents >= 0].tolist()) == sorted(rows.corpus.tokens.tolist())
