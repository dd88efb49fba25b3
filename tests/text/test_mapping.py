"""Other people's datasets in our shapes: the names and nestings that real ones have."""

import pyarrow
import pyarrow.parquet
import pytest

from minikin.base.errors import DataError
from minikin.text.mapping import OURS, Naming, renamed
from minikin.text.records import Dialogue, Turn
from minikin.text.sources import read

LANGUAGES = {"source_lang": "en", "target_lang": "de"}
PAIR = {"source": "a", "target": "b", **LANGUAGES}
TALK = {"turns": [{"role": "USER", "text": "a"}, {"role": "SYSTEM", "text": "b"}]}
IN_TURN = [{"role": "speaker1", "text": "a"}, {"role": "speaker2", "text": "b"}]
SPOKEN = {"turns.text": "turns.utterance", "turns.role": "turns.speaker"}
SIDES = {"source": "en", "target": "de"}

# (a row as it is there, where our fields are in it, our record)
DATASETS = {
    "bentrevett/multi30k": ({"en": "a", "de": "b"}, Naming(places=SIDES, same=LANGUAGES), PAIR),
    "Helsinki-NLP/opus-100": (
        {"translation": {"en": "a", "de": "b"}},
        Naming(places={field: f"translation.{place}" for field, place in SIDES.items()}, same=LANGUAGES),
        PAIR,
    ),
    "knkarthick/dialogsum": (
        {"id": "test_0", "dialogue": "#Person1#: a", "summary": "b", "topic": "c"},
        Naming(places={"document": "dialogue"}),
        {"document": "#Person1#: a", "summary": "b"},
    ),
    "li2017dailydialog/daily_dialog": (
        {"dialog": ["a ", " b"], "act": [1, 2]},
        Naming(places={"turns": "dialog"}),
        {"turns": IN_TURN},
    ),
    "schema-guided dialogue, as objects": (
        {"turns": [{"speaker": "USER", "utterance": "a"}, {"speaker": "SYSTEM", "utterance": "b"}]},
        Naming(places=SPOKEN),
        TALK,
    ),
    "schema-guided dialogue, as columns": (
        {"turns": {"speaker": [0, 1], "utterance": ["a", "b"]}},
        Naming(places=SPOKEN),
        {"turns": [{"role": "0", "text": "a"}, {"role": "1", "text": "b"}]},
    ),
    "speakers under another name": (
        {"turns": [{"speaker": "USER", "text": "a"}, {"speaker": "SYSTEM", "text": "b"}]},
        Naming(places={"turns.role": "turns.speaker"}),
        TALK,
    ),
    "turns without roles": (
        {"log": [{"said": "a"}, {"said": "b"}]},
        Naming(places={"turns.text": "log.said"}),
        {"turns": IN_TURN},
    ),
    "turns of our kind under another name": (
        {"conversation": TALK["turns"]},
        Naming(places={"turns": "conversation"}),
        TALK,
    ),
    "a selection": (
        {"history": ["a", "b"], "options": ["c", "d"], "label": 1, "role": "speaker1"},
        Naming(places={"context": "history", "candidates": "options", "answer": "label"}),
        {"context": IN_TURN, "candidates": ["c", "d"], "answer": 1, "role": "speaker1"},
    ),
    "ours": (PAIR, OURS, PAIR),
}


@pytest.mark.parametrize(("row", "naming", "ours"), DATASETS.values(), ids=DATASETS)
def test_a_row_of_a_dataset_becomes_ours(row, naming, ours):
    found = renamed(row, naming, "here")
    assert {field: found[field] for field in ours} == ours


def test_turns_of_a_table_are_read_from_its_columns(tmp_path):
    rows = [{"turns": {"speaker": [0, 1], "utterance": ["Hello.", "Good morning."]}}]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "0000.parquet")
    found = list(read(tmp_path / "0000.parquet", "dialogue", Naming(places=SPOKEN)))
    assert found == [Dialogue(turns=(Turn(role="0", text="Hello."), Turn(role="1", text="Good morning.")))]


COMPLAINTS = [
    ({"de": "b"}, SIDES, "here: has no 'en', where the recipe's fields say that source is; found de"),
    ({"en": "a", "de": ["b"]}, {"source": "de.x"}, "here: has no 'x', .* that source is; found \"b\""),
    ({}, SIDES, "found no field"),
    ({"turns": {"speaker": [0], "utterance": ["a", "b"]}}, SPOKEN, r"here: turns: texts are .*, roles \[0\]"),
]


@pytest.mark.parametrize(("row", "places", "said"), COMPLAINTS, ids=range(len(COMPLAINTS)))
def test_what_is_not_where_it_is_said_to_be_is_told(row, places, said):
    with pytest.raises(DataError, match=said):
        renamed(row, Naming(places=places), "here")
