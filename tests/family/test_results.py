"""Groups of a test by source, and results that tell nothing of the machine."""

import gzip
import io
import json
from dataclasses import replace

import pytest
from fakes import report
from rich.console import Console

from minikin.base.errors import DataError
from minikin.base.log import Log
from minikin.family.answering import test_questions as questions_by_exam
from minikin.family.exams import brought_exams, own_exams
from minikin.family.naming import source_names
from minikin.family.reading import checked
from minikin.family.results import save_results
from minikin.measure.report import read_report, write_report


def questions_of(recipe, task):
    """What is asked in the exams of a task."""
    found = questions_by_exam(recipe, own_exams(recipe))
    return [question for exam, asked in found if exam.task == task for question in asked]


TURNS = [{"role": "a", "text": "Hello"}, {"role": "b", "text": "Bye"}]
SHAPE = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "intermediate_size": 48,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "hidden_size_per_layer_input": 16,
}


def recipe_on(root, examples=3, /, **data):
    fields = {
        "name": "talk",
        "data": {"root": str(root), **data},
        "member": {"full": {"shape": SHAPE, "train": {"tokens": 10}}},
        "measure": {"max_examples": examples},
    }
    return checked(fields, "here")


def lines(path, *records):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress("".join(json.dumps(record) + "\n" for record in records).encode()))


@pytest.mark.parametrize(
    ("sources", "names"),
    [
        (["data/sgd/valid.jsonl.gz", "/x/dailydialog/valid.jsonl"], ["sgd", "dailydialog"]),
        (["a.jsonl", "b.jsonl"], ["a", "b"]),
        (["x/a.jsonl", "x/b.jsonl", "y/a.jsonl"], ["x a", "x b", "y a"]),
        (["1/x/a.jsonl", "2/x/a.jsonl"], ["x a 1", "x a 2"]),
        (["village:40", "hub:owner/name", "z/a.jsonl"], ["village", "name", "z"]),
        (["village:40", "village:50"], ["village:40", "village:50"]),
    ],
)
def test_sources_have_short_names_that_tell_them_apart(sources, names):
    assert list(source_names(sources).values()) == names


def test_several_sources_of_a_task_are_groups(tmp_path):
    selection = {"context": TURNS, "role": "a", "candidates": ["x", "y"], "answer": 0}
    pair = {"source": "a", "target": "b", "source_lang": "en", "target_lang": "de"}
    for name in ("sgd", "dailydialog"):
        lines(tmp_path / name / "select.jsonl.gz", selection, selection, selection | {"complexity": 7}, selection)
        lines(tmp_path / name / "pairs.jsonl.gz", pair)
    names = ["sgd/select.jsonl.gz", "dailydialog/select.jsonl.gz"]
    pairs = ["sgd/pairs.jsonl.gz", "dailydialog/pairs.jsonl.gz"]
    recipe = recipe_on(
        tmp_path,
        dialogue={"train": ["village:9"], "select": names},
        translation={"train": ["village:9"], "test": pairs, "both_directions": True},
    )
    asked = questions_of(recipe, "dialogue")
    assert [question.group for question in asked] == ["sgd"] * 3 + ["dailydialog"] * 3
    assert [question.example for question in asked] == list(range(6))
    assert [question.complexity for question in asked] == [None, None, 7] * 2
    groups = [question.group for question in questions_of(recipe, "translation")]
    assert groups == ["sgd en-de", "sgd de-en", "dailydialog en-de", "dailydialog de-en"]
    alone = recipe_on(tmp_path, dialogue={"train": ["village:9"], "select": names[:1]})
    assert {question.group for question in questions_of(alone, "dialogue")} == {""}


def talk(*words):
    """Dialogues that end with a word each."""
    return [{"turns": [TURNS[0], {"role": "b", "text": word}]} for word in words]


def test_how_hard_questions_are_is_told_alike_through_the_tests_of_a_task(tmp_path):
    summary = {"document": "a b c d", "summary": "a b"}
    lines(tmp_path / "told.jsonl.gz", summary | {"complexity": 7}, summary)
    lines(tmp_path / "untold.jsonl.gz", summary)
    recipe = recipe_on(tmp_path, summarization={"train": ["village:9"], "test": ["untold.jsonl.gz"]})
    quiet = Log(tmp_path / "log.jsonl", Console(file=io.StringIO()))

    def shown(*names):
        exams = brought_exams(recipe, [tmp_path / f"{name}.jsonl.gz" for name in names], quiet)
        return [[question.complexity for question in asked] for _, asked in questions_by_exam(recipe, exams)]

    assert shown("untold") == [[2.0]]
    assert shown("untold", "told") == [[None], [7, None]]


def test_replies_are_chosen_among_those_of_their_own_source(tmp_path):
    ends = {name: [f"{name} {number}" for number in range(12)] for name in ("sgd", "dailydialog")}
    for name, words in ends.items():
        lines(tmp_path / name / "test.jsonl.gz", *talk(*words))
    both = [f"{name}/test.jsonl.gz" for name in ends]
    recipe = recipe_on(tmp_path, 12, dialogue={"train": ["village:9"], "test": both})
    asked = questions_of(recipe, "dialogue")
    assert [question.references for question in asked] == [(word,) for words in ends.values() for word in words]
    for question in asked:
        assert set(question.candidates) == set(ends[question.group])
        assert question.candidates[question.answer] == question.references[0]
    alone = recipe_on(tmp_path, 12, dialogue={"train": ["village:9"], "test": both[:1]})
    assert [question.candidates for question in questions_of(alone, "dialogue")] == [
        question.candidates for question in asked if question.group == "sgd"
    ]


def test_a_source_with_nothing_to_choose_among_is_named(tmp_path):
    lines(tmp_path / "sgd" / "test.jsonl.gz", *talk("yes", "no"))
    lines(tmp_path / "dailydialog" / "test.jsonl.gz", *talk("yes", "yes"))
    both = ["sgd/test.jsonl.gz", "dailydialog/test.jsonl.gz"]
    recipe = recipe_on(tmp_path, dialogue={"train": ["village:9"], "test": both})
    with pytest.raises(DataError, match=r"^dialogue: its test dailydialog has a single last turn, .*; add dialogues$"):
        questions_of(recipe, "dialogue")


def test_results_are_kept_without_the_paths_that_the_recipe_names(tmp_path):
    family, elsewhere = tmp_path / "family", tmp_path / "elsewhere" / "sgd" / "train.jsonl.gz"
    recipe = recipe_on(
        tmp_path / "data",
        dialogue={"train": [str(elsewhere), "own.jsonl"], "test": [str(tmp_path / "data" / "deep" / "test.jsonl")]},
    )
    told = report()
    nano = told.members["nano"]
    told.members["nano"] = replace(nano, training=replace(nano.training, epochs={f"dialogue {elsewhere}": 2.0}))
    write_report(told, family)
    save_results(family, recipe.model_dump(mode="json", by_alias=True), tmp_path / "saved")
    for path in (tmp_path / "saved").iterdir():
        assert str(tmp_path) not in path.read_text(), path
    found = checked(json.loads((tmp_path / "saved" / "recipe.json").read_text()), "saved")
    assert found.data.root == "."
    assert [source.source for source in found.data.dialogue.test] == ["deep/test.jsonl"]
    assert [weighed.source for weighed in found.data.dialogue.train] == ["sgd/train.jsonl.gz", "own.jsonl"]
    assert read_report(tmp_path / "saved").members["nano"].training.epochs == {"dialogue sgd/train.jsonl.gz": 2.0}
