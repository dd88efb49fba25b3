"""What a teacher writes: its own answers, record by record, whether it was stopped or not."""

import io
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy
import pytest
from fakes import decoder_of
from rich.console import Console

from minikin.base.files import file_digest
from minikin.base.log import Log
from minikin.family import writing
from minikin.family.answering import examine_member, read_answers
from minikin.family.plan import plan
from minikin.family.reading import read_recipe
from minikin.family.site import Site, written_key
from minikin.family.stages import prepare_data
from minikin.family.store import Store
from minikin.family.summary import _how
from minikin.family.supply import training_records
from minikin.family.writing import write_answers
from minikin.model.checkpoint import save
from minikin.model.generate import generate
from minikin.text.chat import encode_prompt, messages
from minikin.text.corpus import Corpus
from minikin.text.tokenizer import Tokenizer

VILLAGE = Path(__file__).parents[2] / "recipes" / "village.toml"
SMALL = [
    "data.translation.train=['village:20', 'village:7']",
    "data.summarization.train=['village:12']",
    "data.dialogue.train=['village:12']",
    "data.text.train=['village:12']",
    "tokenizer.vocab_size=512",
    "member.full.shape.num_hidden_layers=2",
    "member.full.shape.hidden_size=48",
    "member.mini.distill.teacher_answers=22",
    "measure.max_examples=5",
    "measure.max_new_tokens=4",
    "measure.batch=3",
]
WAYS = {
    "greedy": [],
    "beams": ["measure.decoding.translation={num_beams=3, max_new_tokens=3}"],
    "drawn": ["measure.decoding.translation={temperature=1.5, top_k=20}"],
}
FILES = [f"{task}/{name}.bin" for task in ("translation", "summarization", "dialogue") for name in ("tokens", "starts")]


def site(folder, *overrides):
    recipe = read_recipe(VILLAGE, [*SMALL, *overrides])
    log = Log(folder / "log.jsonl", Console(file=io.StringIO()))
    return Site(recipe=recipe, planned=plan(recipe), store=Store(folder), log=log)


@pytest.fixture
def made(tmp_path, monkeypatch):
    """A site whose full member is random; records are answered eight at a time."""
    monkeypatch.setattr(writing, "_CHUNK", 8)

    def make(*overrides):
        found = site(tmp_path, *overrides)
        prepare_data(found)
        with found.store.fresh("full", "", {}) as folder:
            save(decoder_of(found.planned["full"].config), folder)
        return found

    return make


def written(site):
    """What lies there, as digests."""
    return [file_digest(site.store.folder("written/mini") / name) for name in FILES]


def test_each_record_has_its_teachers_answer(made):
    here = made()
    write_answers(here, "mini")
    decoder, tokenizer = decoder_of(here.planned["full"].config), Tokenizer.load(here.store.folder("data"))
    ends = []
    for task, count in (("translation", 22), ("summarization", 12), ("dialogue", 12)):
        corpus = Corpus(here.store.folder("written/mini") / task)
        assert len(corpus) == count
        for index, record in enumerate(islice(training_records(here.recipe, task), count)):
            prompt = encode_prompt(tokenizer, messages(record)[:-1])
            (reply,) = generate(decoder, [prompt], 4)
            said = tokenizer.encode(tokenizer.decode(reply))
            end = [tokenizer.turn_end_id, *tokenizer.encode("\n")] if len(reply) < 4 else []
            found = corpus.tokens[corpus.starts[index] : corpus.starts[index + 1]]
            assert found.tolist() == prompt + said + end
            ends.append(bool(end))
    assert len(set(ends)) == 2  # some are broken off, some are not


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_stopped_and_continued_is_uninterrupted(made, way, monkeypatch):
    here = made(*way)
    write_answers(here, "mini")
    expected, calls = written(here), 0

    def interrupted(*given, **named):
        nonlocal calls
        calls += 1
        if calls == 3:
            raise KeyboardInterrupt
        return whole(*given, **named)

    whole = writing.decode_batches
    monkeypatch.setattr(writing, "decode_batches", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_answers(here, "mini")
    write_answers(here, "mini")
    assert written(here) == expected
    # three chunks of translations and two of each other task; one was begun twice
    assert calls == 8
    assert not here.store.work("written/mini", written_key(here, "mini")).exists()


def test_ways_differ_and_the_report_says_which(made):
    corpora = []
    for way in WAYS.values():
        here = made(*way)
        write_answers(here, "mini")
        examine_member(here, "full")
        corpora.append(numpy.fromfile(here.store.folder("written/mini") / FILES[0], dtype=numpy.uint16).tolist())
        answers = read_answers(here, "full")
        how = _how(here, {task: [a for a in answers if a.task == task] for task in ("translation", "dialogue")})
        translation, said = str(here.recipe.measure.decoding_of("translation")), "greedy, at most 4 tokens"
        assert how["answers"] == (f"translation: {translation}; dialogue: {said}" if way else said)
    assert corpora[0] != corpora[1] != corpora[2] != corpora[0]


def test_prompts_that_were_cut_are_counted(made):
    here = made()
    examine_member(here, "full")
    answers = [answer for answer in read_answers(here, "full") if answer.task == "translation"]
    assert not any(answer.cut for answer in answers)
    for count, said in ((0, "n = 5, mean"), (1, "n = 5, 1 prompt cut to fit,"), (3, "n = 5, 3 prompts cut to fit,")):
        cut = [replace(answer, cut=index < count) for index, answer in enumerate(answers)]
        assert said in _how(here, {"translation": cut})["bleu"]
