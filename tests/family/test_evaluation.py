"""A built family on test files that somebody brings: found, recognised, scored apart, and held against training."""

import io
import json
import shutil
import tomllib

import pytest
from rich.console import Console

from minikin.base.errors import CheckpointError, DataError
from minikin.base.files import file_digest
from minikin.base.log import Log
from minikin.family.build import build, evaluate, evaluate_on
from minikin.family.exams import brought_exams
from minikin.family.reading import checked
from minikin.measure.report import read_report

RECIPE = """
name = "small"
threads = 1
[data]
root = "{root}"
sequence_length = 32
[data.translation]
train = ["pairs/train.jsonl"]
test = ["pairs/own_test.jsonl"]
both_directions = true
[data.dialogue]
train = ["talk/train.jsonl"]
[data.summarization]
train = ["village:40"]
[tokenizer]
vocab_size = 320
[member.full.shape]
hidden_size = 32
num_hidden_layers = 2
intermediate_size = 32
num_attention_heads = 2
num_key_value_heads = 1
head_dim = 16
hidden_size_per_layer_input = 8
[member.full.train]
tokens = 512
batch_tokens = 128
[member.mini]
parent = "full"
compute = "2/3"
memory = "2/3"
[member.mini.distill]
tokens = 512
batch_tokens = 128
importance_samples = 8
[member.mini.promise]
translation = 0.5
memory = "2/3"
[measure]
max_examples = 40
max_new_tokens = 4
resamples = 20
[quantize.q8_0]
samples = 8
"""
TRAINED = "One man is buying three red lamps at the market"


def pair(number, here="en", there="de"):
    return {"source": f"word {number}", "target": f"wort {number}", "source_lang": here, "target_lang": there}


def turns(number):
    return [{"role": "ab"[turn % 2], "text": f"{number} said {turn}"} for turn in range(3)]


def selection(number):
    *context, last = turns(number)
    return {"context": context, "role": last["role"], "candidates": ["no", last["text"]], "answer": 1}


def written(path, *records):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def quiet(folder):
    said = io.StringIO()
    return Log(folder / "log.jsonl", Console(file=said, width=300)), said


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Training data of three records a source, and the family that is built from it."""
    root = tmp_path_factory.mktemp("home")
    written(root / "pairs" / "train.jsonl", pair(1), pair(2), pair(3) | {"source": f"{TRAINED}."})
    written(root / "pairs" / "own_test.jsonl", *(pair(number) for number in (7, 8, 9)))
    written(root / "talk" / "train.jsonl", *({"turns": turns(number)} for number in (1, 2, 3)))
    (root / "family" / ".tmp-full-999999999").mkdir(parents=True)  # of a build that died
    (root / "family" / ".tmp-gone-999999999").mkdir()
    build(recipe_of(root), root / "family", quiet(root)[0])
    return root


@pytest.fixture(scope="module")
def tests(tmp_path_factory):
    """Test sets as an examiner has them."""
    folder = tmp_path_factory.mktemp("tests")
    leaked = pair(9) | {"source": f"«{TRAINED.upper()}»"}
    written(folder / "multi30k_ende" / "test.jsonl", *(pair(number) for number in range(20, 30)), leaked)
    written(folder / "multi30k_ende" / "train.jsonl", pair(1))
    written(folder / "dialogsum" / "test.jsonl", *({"document": f"d {n}", "summary": f"s {n}"} for n in range(3)))
    written(folder / "sgd" / "test_select.jsonl", *map(selection, range(20, 24)))
    written(folder / "dailydialog" / "test_select.jsonl", *map(selection, range(30, 35)))
    written(folder / "dailydialog" / "test.jsonl", {"turns": turns(1)})
    written(folder / "novels" / "test.jsonl", {"text": "once", "source": "a book"})
    written(folder / ".cache" / "test.jsonl", {"other": 1})
    return folder


def recipe_of(root):
    return checked(tomllib.loads(RECIPE.format(root=root)), "recipe")


def digests(folder):
    return {path: file_digest(path) for path in folder.rglob("*") if path.is_file() and "evaluations" not in path.parts}


def test_a_folder_of_test_sets_is_what_members_are_scored_on(home, tests, tmp_path):
    before, (log, said) = digests(home / "family"), quiet(tmp_path)
    report = evaluate_on(recipe_of(home), home / "family", [tests], tmp_path / "out", log)
    assert read_report(tmp_path / "out").members["mini"].scores == report.members["mini"].scores
    assert (tmp_path / "out" / "report.html").is_file()
    assert digests(home / "family") == before
    for member in report.members.values():
        assert {task: next(iter(metrics.values())).n for task, metrics in member.scores.items()} == {
            "translation": 11,  # pairs, asked both ways
            "summarization": 3,
            "dialogue": 9,
        }
        assert set(member.precisions) == {"q8_0"}
    assert {promise.name for promise in report.members["mini"].promises} == {"translation", "memory"}
    assert report.how["test files"] == (
        "dailydialog/test_select.jsonl, dialogsum/test.jsonl, multi30k_ende/test.jsonl, sgd/test_select.jsonl; "
        "of each the first 40 at most"
    )
    assert "dailydialog/test.jsonl: passed over, dialogues; the selections are scored instead" in said.getvalue()
    assert "novels/test.jsonl: passed over, plain text" in said.getvalue()
    assert "multi30k_ende/test.jsonl: translation, both ways" in said.getvalue()
    found = report.overlap["translation"]
    assert (found.examples, found.exact, found.near) == (11, 1, 0)
    assert found.shown_exact[0].startswith(f"«{TRAINED.upper()}»")
    assert "warning: of 11 translation tests, 1 are in the training data word for word" in said.getvalue()
    log, said = quiet(tmp_path)
    again = evaluate_on(recipe_of(home), home / "family", [tests], tmp_path / "out", log)
    assert all(f"{name}: is up to date" in said.getvalue() for name in ("answers/full", "answers/mini.q8_0", "overlap"))
    assert again.members["mini"].scores == report.members["mini"].scores


def test_a_family_is_examined_where_its_training_data_is_not(home, tests, tmp_path):
    shutil.copytree(home / "family", tmp_path / "family")
    log, said = quiet(tmp_path)
    data = [tests / "sgd", tests / "dialogsum" / "test.jsonl"]
    report = evaluate_on(recipe_of(tmp_path / "nowhere"), tmp_path / "family", data, tmp_path / "out", log)
    assert set(report.members["mini"].scores) == {"dialogue", "summarization"}
    assert report.overlap == {}
    assert report.how["overlap with the training data"].startswith("not looked for: ")
    assert "warning: the test is not compared with the training data: " in said.getvalue()
    assert report.members["mini"].promises[0].name == "memory"


@pytest.fixture(scope="module")
def another(home, tmp_path_factory):
    """The same recipe's family, built where one training pair is another."""
    root = tmp_path_factory.mktemp("another")
    shutil.copytree(home, root, dirs_exist_ok=True, ignore=shutil.ignore_patterns("family"))
    written(root / "pairs" / "train.jsonl", pair(1), pair(2), pair(4))
    build(recipe_of(root), root / "family", quiet(root)[0])
    return root


OTHER_BUILDS = {
    "data": (["data"], r"family/full: is not of the same build as \S+family/data"),
    "full": (["full"], r"family/full: is not of the same build as \S+family/data"),
    "mini": (["mini", "quantized/mini"], r"family/mini: is not of the same build as \S+family/data"),
    "few bits": (["quantized/mini"], r"quantized/mini/q8_0: is of an earlier mini"),
}


@pytest.mark.parametrize(("parts", "said"), OTHER_BUILDS.values(), ids=OTHER_BUILDS)
def test_a_family_of_two_builds_is_not_examined(home, another, tests, tmp_path, parts, said):
    family = tmp_path / "family"
    shutil.copytree(home / "family", family)
    for part in parts:
        shutil.rmtree(family / part)
        shutil.copytree(another / "family" / part, family / part)
    with pytest.raises(CheckpointError, match=f"{said}; minikin build RECIPE makes them agree$"):
        evaluate_on(recipe_of(home), family, [tests / "sgd"], tmp_path / "out", quiet(tmp_path)[0])
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("other", ["data", "full", "mini"])
def test_a_family_is_not_examined_by_another_recipe(home, another, tmp_path, other):
    family = tmp_path / "family"
    shutil.copytree(home / "family", family)
    shutil.rmtree(family / other)
    shutil.copytree(another / "family" / other, family / other)
    with pytest.raises(CheckpointError, match=rf"family/{other}: is not of .* build .*; minikin build RECIPE makes"):
        evaluate(recipe_of(home), family, quiet(tmp_path)[0])


@pytest.mark.parametrize(("member", "training"), [("full", "train"), ("mini", "distill")])
def test_a_member_that_was_trained_otherwise_than_its_family_is_told(home, tests, tmp_path, member, training):
    family = tmp_path / "family"
    shutil.copytree(home / "family", family)
    kept = json.loads((family / "recipe.json").read_text())
    kept["member"][member][training]["tokens"] = 640
    (family / "recipe.json").write_text(json.dumps(kept))
    with pytest.raises(
        CheckpointError, match=rf"family/{member}: is not of the build that the recipe asks for; minikin"
    ):
        evaluate_on(recipe_of(home), family, [tests / "sgd"], tmp_path / "out", quiet(tmp_path)[0])


def test_a_build_deletes_what_one_that_died_left(home):
    assert list((home / "family").glob(".tmp-*")) == []


def test_the_familys_own_test_is_held_against_its_training(home):
    report = read_report(home / "family")
    assert {task: found.examples for task, found in report.overlap.items()} == {"translation": 3}
    assert list(report.members["full"].scores) == ["translation"]


@pytest.mark.parametrize(
    ("records", "both"),
    [
        ([pair(1), pair(2)], True),
        ([pair(1), pair(2, "de", "en")], False),
        ([pair(1), pair(2, "en", "fr")], True),
    ],
)
def test_a_test_that_goes_both_ways_is_not_turned(tmp_path, records, both):
    path = written(tmp_path / "x.jsonl", *records)
    [exam] = brought_exams(recipe_of(tmp_path), [path], quiet(tmp_path)[0])
    assert exam.both_directions == both


def test_a_test_that_is_named_twice_is_asked_once(tmp_path):
    folder = tmp_path / "a"
    path, same = written(folder / "x.jsonl", pair(1)), written(folder / "y.jsonl", pair(1))
    (folder / "z.jsonl").symlink_to(path)
    log, said = quiet(tmp_path)
    exams = brought_exams(recipe_of(tmp_path), [folder, path, folder / ".." / "a" / "y.jsonl"], log)
    assert [exam.name for exam in exams] == [str(path), str(same)]
    assert f"a/z.jsonl: passed over, it is {path} by another name" in said.getvalue()


UNFIT = {
    "nothing": ({}, "a", "a: holds no test file; expected .jsonl, .jsonl.gz, .parquet here or below, not named train"),
    "training only": ({"a/train_extra.jsonl": pair(1)}, "a", "a: holds no test file"),
    "no such path": ({}, "b", "b: no such file"),
    "another kind of file": ({"a/x.txt": pair(1)}, "a/x.txt", "a/x.txt: cannot tell what kind of file this is"),
    "an unknown shape": (
        {"a/x.jsonl": {"question": "?"}},
        "a",
        "a/x.jsonl:1: is no record of a kind that is known here",
    ),
    "no object": ({"a/x.jsonl": [1]}, "a", "a/x.jsonl:1: is no record of a kind that is known here; found [1]"),
    "plain text only": ({"a/x.jsonl": {"text": "once"}}, "a", "a: holds plain text only, in which nothing is asked"),
    "what was trained on": (
        {"pairs/train.jsonl": pair(1), "a/t.jsonl": pair(1)},
        "a",
        "is what the family was trained",
    ),
}


@pytest.mark.parametrize(("files", "named", "said"), UNFIT.values(), ids=UNFIT)
def test_what_cannot_be_a_test_is_told_on_one_line(tmp_path, files, named, said):
    (tmp_path / "a").mkdir()
    for name, record in files.items():
        written(tmp_path / name, record)
    with pytest.raises(DataError) as refusal:
        brought_exams(recipe_of(tmp_path), [tmp_path / named], quiet(tmp_path)[0])
    assert said in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_other_results_are_not_overwritten(home, tests, tmp_path):
    log, _ = quiet(tmp_path)
    with pytest.raises(DataError, match=r"family: is a family's own folder; name another for this evaluation: --out"):
        evaluate_on(recipe_of(home), home / "family", [tests], home / "family", log)
    with pytest.raises(CheckpointError, match="full: is not built yet"):
        evaluate_on(recipe_of(home), tmp_path / "none", [tests], tmp_path / "out", log)
