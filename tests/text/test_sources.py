"""Files to records, and every complaint about them."""

import gzip
import json

import huggingface_hub
import pyarrow
import pyarrow.parquet
import pytest

from minikin.base.errors import DataError
from minikin.text.records import Translation
from minikin.text.sources import read, read_hub, reversed_direction

GOOD = {"source": "a", "target": "b", "source_lang": "en", "target_lang": "de"}


def lines(path, *records):
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def test_every_kind_of_file_gives_the_same_records(tmp_path):
    plain = lines(tmp_path / "a.jsonl", GOOD, GOOD | {"references": ["b", "c"]})
    packed = tmp_path / "a.jsonl.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    table = tmp_path / "a.parquet"
    rows = [GOOD | {"references": []}, GOOD | {"references": ["b", "c"]}]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), table)
    found = [list(read(path, "translation")) for path in (plain, packed, table)]
    assert found[0] == found[1] == found[2]
    assert found[0][1].references == ("b", "c")


@pytest.mark.parametrize("complexity", [3, 2.5, "two clauses", None])
def test_a_record_may_tell_how_complex_it_is(tmp_path, complexity):
    turns = [{"role": role, "text": "x"} for role in "ab"]
    records = {
        "translation": GOOD,
        "summarization": {"document": "a", "summary": "b"},
        "dialogue": {"turns": turns},
        "selection": {"context": turns, "role": "a", "candidates": ["x", "y"], "answer": 0},
    }
    for task, record in records.items():
        (found,) = read(lines(tmp_path / f"{task}.jsonl", record | {"complexity": complexity}), task)
        assert found.complexity == complexity
    (pair,) = read(tmp_path / "translation.jsonl", "translation")
    assert reversed_direction(pair).complexity == complexity


def test_a_pair_turned_twice_is_itself():
    pair = Translation(source="a", target="b", source_lang="en", target_lang="de")
    assert reversed_direction(pair).source_lang == "de"
    assert reversed_direction(reversed_direction(pair)) == pair


def test_of_a_hub_dataset_the_files_of_the_split_are_read(tmp_path, monkeypatch):
    names = ["README.md", "data/train-0.jsonl", "data/train-1.jsonl", "data/latest-train.csv", "data/constraints.jsonl"]
    (tmp_path / "data").mkdir()
    for name in names[1:3]:
        lines(tmp_path / name, GOOD)
    monkeypatch.setattr(huggingface_hub, "list_repo_files", lambda name, repo_type: names)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", lambda name, file, repo_type: str(tmp_path / file))
    assert len(list(read_hub("owner/name", "translation", "train"))) == 2
    with pytest.raises(DataError, match=r"hub:owner/name: has no test file of \.jsonl, .* it has README\.md"):
        list(read_hub("owner/name", "translation", "test"))


def test_a_hub_dataset_that_cannot_be_fetched_is_told(monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(DataError, match="hub:a/b/c: cannot be fetched"):
        list(read_hub("a/b/c", "translation", "train"))


COMPLAINTS = [
    ("translation", b"", "holds no record"),
    ("translation", b"{\n", r"a\.jsonl:1: is not valid JSON"),
    ("translation", b'{"source": "\xff"}\n', r"a\.jsonl:1: is not valid UTF-8 at byte 12"),
    ("translation", b"[1]\n", r"a\.jsonl:1: found \[1\]; expected a JSON object"),
    ("translation", b'{"source": "a"}\n', r"a\.jsonl:1: lacks 'target'; found source"),
    ("translation", b'{"source": "a", "targt": "b"}\n', r"lacks 'target'; is 'targt' meant to be it\?"),
    ("translation", b'{"source": "  ", "target": "b"}\n', 'source is "  "; expected a text that is not empty'),
    ("translation", b'{"source": "a", "target": 3}\n', "target is 3; expected a text"),
    ("summarization", b'{"document": "a", "summary": "b"}\n{"document": "a"}\n', r"a\.jsonl:2: lacks 'summary'"),
    ("dialogue", b'{"turns": []}\n', r"turns is \[\]; expected a list of at least 2 turns"),
    ("dialogue", b'{"turns": [{"role": "a", "text": "b"}, {"role": "a"}]}\n', r"turns\[1\]: lacks 'text'"),
    (
        "selection",
        b'{"context": [{"role": "a", "text": "b"}], "role": "a", "candidates": ["x"], "answer": 1}\n',
        "answer is 1; expected a whole number from 0 to 0",
    ),
    (
        "summarization",
        b'{"document": "a", "summary": "b", "complexity": [1]}\n',
        r"complexity is \[1\]; expected a number",
    ),
    (
        "summarization",
        b'{"document": "a", "summary": "b", "complexity": NaN}\n',
        "complexity is NaN; expected a number",
    ),
    ("text", b'{"text": "\\ud800"}\n', "expected a text that is not empty and has no half of a surrogate pair"),
    ("text", b'{"text": ' + b"[" * 100_000 + b"\n", "is nested too deeply"),
]


@pytest.mark.parametrize(("task", "content", "said"), COMPLAINTS, ids=range(len(COMPLAINTS)))
def test_a_bad_file_is_told_with_its_line(tmp_path, task, content, said):
    path = tmp_path / "a.jsonl"
    path.write_bytes(content)
    with pytest.raises(DataError, match=said):
        list(read(path, task))


def test_other_bad_files_are_told(tmp_path):
    lines(tmp_path / "train.jsonl", GOOD)
    (tmp_path / "a.jsonl.gz").write_bytes(b"not gzip")
    (tmp_path / "a.parquet").write_bytes(b"not parquet")
    (tmp_path / "a.csv").write_bytes(b"a,b")
    for name, said in {
        "trian.jsonl": r"no such file; did you mean .*train\.jsonl",
        "none/a.jsonl": "no such file; is .* the right folder",
        "a.jsonl.gz": "is not a whole gzip file",
        "a.parquet": "is not a readable parquet file",
        "a.csv": "cannot tell what kind of file this is",
    }.items():
        with pytest.raises(DataError, match=said):
            list(read(tmp_path / name, "translation"))
