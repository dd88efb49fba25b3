"""Sources of a recipe: a file where it is, else a dataset of the hub; both as our records."""

import json
import subprocess
import sys
import tomllib
from types import SimpleNamespace

import huggingface_hub
import pyarrow
import pyarrow.parquet
import pytest

from minikin.base.errors import DataError, RecipeError
from minikin.family.exams import examples_of, own_exams
from minikin.family.reading import checked
from minikin.family.supply import fingerprint, training_records
from minikin.text import hub as module
from minikin.text.records import Dialogue, Selection, Translation

PAIR = {"source": "a", "target": "b", "source_lang": "en", "target_lang": "de"}
RECIPE = """
name = "a"
[member.full.shape]
hidden_size = 32
num_hidden_layers = 2
intermediate_size = 32
num_attention_heads = 2
num_key_value_heads = 1
head_dim = 16
hidden_size_per_layer_input = 0
[member.full.train]
tokens = 100
"""
TALK = {"context": [{"role": "a", "text": "b"}]}
BOTH = """
[translation]
test = ["test.jsonl"]
[[translation.train]]
source = "pairs/train.jsonl"
hub = "owner/pairs"
split = "train"
revision = "v1"
fields = {source = "translation.en", target = "translation.de"}
source_lang = "en"
target_lang = "de"
weight = 2.5
"""
SELECT = """
[dialogue]
train = [{source = "talk/train.jsonl", hub = "owner/talk", fields = {turns = "dialog"}}]
select = [{source = "talk/select.jsonl", hub = "owner/talk", fields = {turns = "dialog"}}]
"""


def recipe_of(data, **changes):
    return checked(
        tomllib.loads(RECIPE) | {"data": tomllib.loads(data) | changes, "tokenizer": {"vocab_size": 512}}, "r"
    )


def asked(recipe):
    """The sources of the first exam's pairs."""
    return [record.source for _, (record,) in examples_of(recipe, own_exams(recipe)[0])]


def written(path, *records):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A hub with two datasets; `hub` is the list of what was fetched."""
    files = {
        "owner/pairs": written(tmp_path / "hub" / "train.jsonl", {"translation": {"en": "c", "de": "d"}}),
        "owner/talk": written(tmp_path / "hub" / "test.jsonl", {"dialog": ["a", "b"]}, {"dialog": ["a", "c"]}),
    }
    asked = []

    def download(name, file, repo_type, revision):
        asked.append((name, file, revision))
        return str(files[name])

    module.fetched.cache_clear()
    module._listed.cache_clear()
    monkeypatch.setattr(huggingface_hub, "dataset_info", lambda name, revision: SimpleNamespace(sha=revision))
    monkeypatch.setattr(huggingface_hub, "list_repo_files", lambda name, repo_type, revision: [files[name].name])
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    return asked


def test_the_file_is_read_where_it_is_and_the_dataset_where_it_is_not(tmp_path, hub):
    recipe = recipe_of(BOTH, root=str(tmp_path))
    [source] = recipe.data.translation.train
    theirs = fingerprint(recipe, source)
    assert list(training_records(recipe, "translation")) == [
        Translation(source="c", target="d", source_lang="en", target_lang="de")
    ]
    assert hub == [("owner/pairs", "train.jsonl", "v1")]
    written(tmp_path / "pairs" / "train.jsonl", PAIR)
    assert [record.source for record in training_records(recipe, "translation")] == ["a"]
    assert len(hub) == 1
    assert fingerprint(recipe, source) != theirs


def test_a_file_is_known_by_its_bytes_whatever_could_stand_in_for_it(tmp_path):
    written(tmp_path / "pairs" / "train.jsonl", PAIR)
    plain = recipe_of('translation = {train = ["pairs/train.jsonl"], test = ["village:9"]}', root=str(tmp_path))
    table = recipe_of(BOTH, root=str(tmp_path))
    known = [fingerprint(recipe, recipe.data.translation.train[0]) for recipe in (plain, table)]
    assert known[0] == known[1]


@pytest.mark.parametrize(
    "changed", ["split = 'test'", "revision = 'v2'", "fields = {source = 'x'}", "source_lang = 'fr'"]
)
def test_a_dataset_is_known_by_all_that_says_what_is_read_of_it(tmp_path, changed):
    data = "[translation]\ntest = ['village:9']\ntrain = [{{source = 'hub:a/b'{}}}]"
    one, other = (recipe_of(data.format(more)) for more in ("", f", {changed}"))
    known = [fingerprint(recipe, recipe.data.translation.train[0]) for recipe in (one, other)]
    assert known[0] == "hub:a/b"
    assert known[0] != known[1]


def test_whole_dialogues_of_the_hub_stand_in_for_selections(tmp_path, hub):
    recipe = recipe_of(SELECT, root=str(tmp_path))
    [exam] = own_exams(recipe)
    assert [[type(record) for record in records] for _, records in examples_of(recipe, exam)] == [
        [Dialogue],
        [Dialogue],
    ]
    written(tmp_path / "talk" / "select.jsonl", {**TALK, "role": "b", "candidates": ["c", "d"], "answer": 1})
    assert [[type(record) for record in records] for _, records in examples_of(recipe, exam)] == [[Selection]]


def test_a_file_of_whole_dialogues_is_known_by_its_first_record(tmp_path, hub):
    recipe = recipe_of(SELECT, root=str(tmp_path))
    turns = [{"role": role, "text": text} for role, text in zip("abab", "wxyz", strict=True)]
    written(tmp_path / "talk" / "select.jsonl", {"turns": turns}, {"turns": turns[1:]})
    [exam] = own_exams(recipe)
    assert [[type(record) for record in records] for _, records in examples_of(recipe, exam)] == [
        [Dialogue],
        [Dialogue],
    ]
    assert not hub


def test_a_file_may_have_names_of_its_own(tmp_path):
    path = written(tmp_path / "a.jsonl", {"dialogue": "a", "gist": "b"})
    source = f"{{source = '{path}', fields = {{document = 'dialogue', summary = 'gist'}}}}"
    recipe = recipe_of(f"summarization = {{train = [{source}], test = ['village:9']}}")
    [record] = training_records(recipe, "summarization")
    assert (record.document, record.summary) == ("a", "b")


def test_both_that_were_tried_are_told_on_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    recipe = recipe_of(BOTH, root=str(tmp_path))
    with pytest.raises(DataError) as refusal:
        list(training_records(recipe, "translation"))
    said = str(refusal.value)
    assert said.startswith(f"{tmp_path}/pairs/train.jsonl: no such file, and hub:owner/pairs: cannot be fetched (")
    assert said.endswith("say with --set data.root=FOLDER or the environment variable MINIKIN_DATA")
    assert "\n" not in said


def test_files_start_at_the_recipes_root_else_at_the_environments(tmp_path, monkeypatch):
    written(tmp_path / "test.jsonl", PAIR)
    data = 'translation = {train = ["train.jsonl"], test = ["test.jsonl"]}'
    monkeypatch.setenv("MINIKIN_DATA", str(tmp_path))
    recipe = recipe_of(data)
    assert asked(recipe) == ["a"]
    with pytest.raises(DataError, match=r"train\.jsonl: no such file; .* data\.root=FOLDER or .* MINIKIN_DATA"):
        list(training_records(recipe, "translation"))
    with pytest.raises(DataError, match=r"elsewhere/test\.jsonl: no such file"):
        asked(recipe_of(data, root="elsewhere"))
    monkeypatch.delenv("MINIKIN_DATA")
    monkeypatch.chdir(tmp_path)
    assert asked(recipe_of(data)) == ["a"]


MISTAKES = {
    "{source = 'village:9', hub = 'a/b'}": "hub: village:9 is no file that a dataset could stand in for",
    "{source = 'hub:a/b', hub = 'a/b'}": "hub: hub:a/b is no file that a dataset could stand in for",
    "{source = 'a.jsonl', hub = 'a b'}": "found 'a b'; expected OWNER/NAME",
    "{source = 'a.jsonl', split = 'train'}": "split and revision are a dataset's; name it: hub = OWNER/NAME",
    "{source = 'village:9', fields = {source = 'x'}}": "fields: village:9 has our own names",
    "{source = 'a.jsonl', fields = {sorce = 'x'}}": "fields: translation has no 'sorce'; did you mean 'source'?",
    "{source = 'a.jsonl', fields = {source = 3}}": "found 3; input should be a valid string",
    "{source = 'a.jsonl', wieght = 3}": "wieght: unknown field; did you mean 'weight'?",
    "{source = 'x.jsonl', hub = 'a/b', split = 'test'}": "hub:a/b, test is both trained on and tested on",
    "{source = 'hub:a/b', split = 'test'}": "hub:a/b, test is both trained on and tested on",
    "'y.jsonl'": "y.jsonl is both trained on and tested on",
}


@pytest.mark.parametrize(("source", "said"), MISTAKES.items(), ids=range(len(MISTAKES)))
def test_a_source_that_contradicts_itself_is_told(source, said):
    with pytest.raises(RecipeError) as refusal:
        recipe_of(f"translation = {{train = [{source}], test = [{{source = 'y.jsonl', hub = 'a/b'}}]}}")
    assert said in str(refusal.value)
    assert str(refusal.value).startswith("r: data")


def test_a_resolved_recipe_says_the_same(tmp_path):
    talk = "dialogue = {train = [{source = 'a', fields = {turns.text = 'x.y', turns.role = 'x.z'}}], test = ['b']}\n"
    recipe = recipe_of(talk + BOTH)
    assert recipe.data.dialogue.train[0].fields == {"turns.text": "x.y", "turns.role": "x.z"}
    assert checked(json.loads(recipe.model_dump_json(by_alias=True)), "again") == recipe


READ = """
import resource, sys
from pathlib import Path
from minikin.text.corpus import write_records
from minikin.text.sources import read
sys.path.insert(0, "tests")
from fakes import tokenizer
made = tokenizer()
write_records(Path(sys.argv[2]), read(Path(sys.argv[1]), "text"), made)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_memory_does_not_grow_with_what_is_read_and_written(tmp_path, kind):
    def peak(count):
        path = tmp_path / f"{count}.{kind}"
        rows = ({"text": f"the man, {number} years old"} for number in range(count))
        if kind == "jsonl":
            with path.open("w") as file:
                file.writelines(json.dumps(row) + "\n" for row in rows)
        else:
            pyarrow.parquet.write_table(pyarrow.Table.from_pylist(list(rows)), path)
        command = [sys.executable, "-c", READ, str(path), str(tmp_path / f"{count}")]
        return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

    # in kilobytes; 60 bytes a record would be 6,000 more
    assert peak(100_000) - peak(1_000) < 4_000
