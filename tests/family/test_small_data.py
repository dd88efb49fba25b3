"""A handful of examples is enough to build a family, and nothing of it is lost or learned by heart unseen."""

import io
import json

import pytest
from rich.console import Console

from minikin.base.log import Log
from minikin.family.build import build
from minikin.family.reading import checked

SHAPE = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "intermediate_size": 32,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "hidden_size_per_layer_input": 8,
}
RECORDS = {
    "translation": lambda n: {
        "source": f"house {n} is old",
        "target": f"Haus {n} ist alt",
        "source_lang": "en",
        "target_lang": "de",
    },
    "summarization": lambda n: {"document": f"Somebody says {n}. Others say nothing.", "summary": f"They say {n}."},
    "dialogue": lambda n: {"turns": [{"role": "a", "text": f"Is it {n}?"}, {"role": "b", "text": f"It is {n}."}]},
}


def family_of(folder, count, tokens=3000):
    """A family of one, built on so many examples of each task."""
    for task, record in RECORDS.items():
        for part, first in (("train", 0), ("test", 1000)):
            lines = (json.dumps(record(first + number)) + "\n" for number in range(count if part == "train" else 5))
            (folder / f"{task}-{part}.jsonl").write_text("".join(lines))
    fields = {
        "name": "small",
        "threads": 1,
        "data": {
            "root": str(folder),
            "sequence_length": 64,
            **{task: {"train": [f"{task}-train.jsonl"], "test": [f"{task}-test.jsonl"]} for task in RECORDS},
        },
        "tokenizer": {"vocab_size": 400},
        "member": {"full": {"shape": SHAPE, "train": {"tokens": tokens, "batch_tokens": 256}}},
        "measure": {"max_new_tokens": 6, "resamples": 20},
        "quantize": {},
    }
    said = io.StringIO()
    report = build(checked(fields, "small"), folder / "family", Log(folder / "log.jsonl", Console(file=said)))
    facts = json.loads((folder / "family" / "full" / "provenance.json").read_text())
    return report, facts, said.getvalue()


@pytest.mark.parametrize(("count", "watched"), [(3, False), (25, True), (60, True)])
def test_any_number_of_examples_builds(tmp_path, count, watched):
    report, facts, _ = family_of(tmp_path, count)
    assert {task for point in facts["curve"] for task in point["held_out"]} == (set(RECORDS) if watched else set())
    assert set(facts["gap"]) == (set(RECORDS) if watched else set())
    assert report.members["full"].scores["translation"]["bleu"].n == 5


def test_dialogues_that_all_end_alike_choose_no_weights(tmp_path, monkeypatch):
    def dialogue(n):
        ends = "It is so." if n < 1000 else f"It is {n}."  # those of the test do not
        return {"turns": [{"role": "a", "text": f"Is it {n}?"}, {"role": "b", "text": ends}]}

    monkeypatch.setitem(RECORDS, "dialogue", dialogue)
    _, facts, _ = family_of(tmp_path, 60)
    assert "dialogue" in facts["gap"]


def test_what_is_longer_than_a_row_is_told(tmp_path, monkeypatch):
    *_, said = family_of(tmp_path, 5)
    assert "are cut" not in said
    (tmp_path / "long").mkdir()
    monkeypatch.setitem(RECORDS, "summarization", lambda n: {"document": f"It is {n}. " * 40, "summary": f"{n}."})
    *_, said = family_of(tmp_path / "long", 5)
    said = " ".join(said.split())  # a console breaks lines
    assert "5 of them are longer than the 64 that a row has room for, and are cut" in said
    assert said.count("are cut") == 1


def test_what_is_seen_often_is_guarded_more(tmp_path):
    (tmp_path / "few").mkdir()
    (tmp_path / "many").mkdir()
    _, few, _ = family_of(tmp_path / "few", 10, tokens=20_000)
    _, many, _ = family_of(tmp_path / "many", 900, tokens=20_000)
    assert few["dropout"] > many["dropout"] == 0
    assert few["weight_decay"] > many["weight_decay"]
    assert few["epochs"]["translation"] > many["epochs"]["translation"]
