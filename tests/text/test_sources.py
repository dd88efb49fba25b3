"""Files to records, and every complaint about them."""

import csv
import gzip
import json
from random import Random

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minikin.base.errors import DataError
from minikin.text.records import Dialogue, Translation, Turn
from minikin.text.sources import read
from minikin.text.views import reversed_direction, up_to_drawn_turns

TEXTS = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0")).filter(str.strip)
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


def test_a_table_tells_complexity_as_other_files_do(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("document,summary,complexity\na,b,3\na,b,\na,b,two clauses\na,b,2.5\na,b,nan\n")
    assert [record.complexity for record in read(path, "summarization")] == [3, None, "two clauses", 2.5, "nan"]


def test_lines_of_a_table_are_counted_as_an_editor_does(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text('document,summary\n\n"a\nb",c\n\nd\n')
    with pytest.raises(DataError, match=r"a\.csv:6: has 1 cells; expected 2"):
        list(read(path, "summarization"))
    path.write_text("document,summary,document\na,b,c\n")
    with pytest.raises(DataError, match=r"a\.csv:1: has two columns named 'document'"):
        list(read(path, "summarization"))


@given(st.lists(st.tuples(TEXTS, TEXTS), min_size=1))
def test_a_csv_file_gives_its_cells_whatever_is_in_them(tmp_path_factory, pairs):
    path = tmp_path_factory.mktemp("csv") / "a.csv"
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        table = csv.writer(file)
        table.writerows([("document", "summary", "id"), *((*pair, "7") for pair in pairs)])
    assert [(record.document, record.summary) for record in read(path, "summarization")] == pairs


def test_a_document_may_be_longer_than_pythons_limit_for_a_cell(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("text\n" + "word " * 40_000 + "\n")
    assert len(next(read(path, "text")).text) == 200_000


def test_a_pair_turned_twice_is_itself():
    pair = Translation(source="a", target="b", source_lang="en", target_lang="de")
    assert reversed_direction(pair).source_lang == "de"
    assert reversed_direction(reversed_direction(pair)) == pair


def test_a_byte_order_mark_is_no_part_of_the_first_record(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"text": "a"}\r\n{"text": "b"}\r\n')
    assert [record.text for record in read(path, "text")] == ["a", "b"]


COMPLAINTS = [
    ("translation", b"", "holds no record"),
    ("translation", b"{\n", r"a\.jsonl:1: is not valid JSON .*; expected one object a line"),
    ("translation", b'{"source": "\xff"}\n', r"a\.jsonl:1: is not valid UTF-8 at byte 12"),
    ("translation", b"[1]\n", r"a\.jsonl:1: found \[1\]; expected a JSON object"),
    ("translation", b'{"source": "a"}\n', r"a\.jsonl:1: lacks 'target'; found source"),
    ("translation", b'{"source": "a", "targt": "b"}\n', r"lacks 'target'; is 'targt' meant to be it\?"),
    (
        "translation",
        b'{"source": "a", "target": "b"}\n',
        "lacks 'source_lang'; found source, target; if it is the same in all records, say it once",
    ),
    ("translation", b'{"source": "  ", "target": "b"}\n', 'source is "  "; expected a text that is not empty'),
    ("translation", b'{"source": "a", "target": 3}\n', "target is 3; expected a text"),
    ("summarization", b'{"document": "a", "summary": "b"}\n{"document": "a"}\n', r"a\.jsonl:2: lacks 'summary'"),
    ("dialogue", b'{"turns": []}\n', r"turns is \[\]; expected a list of at least 2 turns"),
    ("dialogue", b'{"turns": [{"role": "a", "text": "b"}, {"role": "a"}]}\n', r"turns\[1\]: lacks 'text'"),
    (
        "selection",
        b'{"context": [{"role": "a", "text": "b"}], "role": "a", "candidates": ["x", "y"], "answer": 2}\n',
        "answer is 2; expected a whole number from 0 to 1",
    ),
    (
        "selection",
        b'{"context": [{"role": "a", "text": "b"}], "role": "a", "candidates": ["x"], "answer": 0}\n',
        r'candidates is \["x"\]; expected a list of at least 2 texts',
    ),
    (
        "selection",
        b'{"context": [{"role": "a", "text": "b"}], "role": "a", "candidate": ["x", "y"], "answer": 0}\n',
        r"lacks 'candidates'; is 'candidate' meant to be it\?",
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
    ("text", b'{"text": "\\ud800"}\n', "expected a text without half of a surrogate pair"),
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
    (tmp_path / "a.txt").write_bytes(b"a,b")
    (tmp_path / "empty.csv").write_bytes(b"source,target\n")
    (tmp_path / "short.csv").write_bytes(b"source,target\na\n")
    (tmp_path / "torn.csv").write_bytes(b'source,target\n"a,b\n')
    (tmp_path / "latin.csv").write_bytes(b"source,target\n\xff,b\n")
    for name, said in {
        "trian.jsonl": r"no such file; did you mean .*train\.jsonl",
        "none/a.jsonl": "no such file; is .* the right folder",
        "a.jsonl.gz": "is not a whole gzip file",
        "a.parquet": "is not a readable parquet file",
        "a.txt": "cannot tell what kind of file this is",
        "empty.csv": "holds no record",
        "short.csv": r"short\.csv:2: has 1 cells; expected 2, as its first line names",
        "torn.csv": "is not a readable csv file",
        "latin.csv": "is not valid UTF-8",
    }.items():
        with pytest.raises(DataError, match=said):
            list(read(tmp_path / name, "translation"))


def test_every_turn_but_the_first_may_be_drawn_and_what_comes_after_is_left_out():
    whole = Dialogue(turns=tuple(Turn(role="ab"[number % 2], text=f"turn {number}") for number in range(5)))
    found = list(up_to_drawn_turns([whole] * 200, Random(1)))
    assert {len(dialogue.turns) for dialogue in found} == {2, 3, 4, 5}
    assert all(dialogue.turns == whole.turns[: len(dialogue.turns)] for dialogue in found)
