"""The files of a hub dataset's split, of a hub that is faked: names and folders are those of real datasets."""

from types import SimpleNamespace

import huggingface_hub
import pytest

from minikin.base.errors import DataError
from minikin.text import hub as module
from minikin.text.hub import fetched

FILES = {
    "bentrevett/multi30k": ["README.md", "test.jsonl", "train.jsonl", "val.jsonl"],
    "knkarthick/dialogsum": ["README.md", "holdout.csv", "test.csv", "train.csv", "validation.csv"],
    "li2017dailydialog/daily_dialog": ["default/test/0000.parquet", "default/train/0000.parquet"],
    "google-research-datasets/schema_guided_dstc8": ["dialogues/train/0000.parquet", "schema/train/0000.parquet"],
    "sentence-transformers/parallel-sentences-tatoeba": [
        "all/train-00000-of-00002.parquet",
        "en-de/dev-00000-of-00001.parquet",
        "en-de/train-00000-of-00001.parquet",
        "en-nl/train-00000-of-00001.parquet",
    ],
    "twice/there": ["data/train-0.jsonl", "data/train-1.jsonl", "data/train.csv", "latest.jsonl", "constraints.jsonl"],
    "HuggingFaceH4/ultrachat_200k": ["data/test_gen-0.parquet", "data/train_gen-0.parquet", "data/train_sft-0.parquet"],
    "both/kinds": ["train.jsonl", "train.parquet", "validation_matched.jsonl", "many/train_0.csv"],
}


@pytest.fixture(autouse=True)
def forgotten():
    fetched.cache_clear()
    module._listed.cache_clear()


@pytest.fixture
def hub(monkeypatch):
    """What was asked for."""
    asked = []

    def told(name, revision):
        asked.append(("info", revision))
        return SimpleNamespace(sha=f"commit of {revision}")

    def listed(name, repo_type, revision):
        assert repo_type == "dataset"
        asked.append(("files", revision))
        return FILES[name]

    def download(name, file, repo_type, revision):
        asked.append((file, revision))
        return f"/hub/{name}/{file}"

    monkeypatch.setattr(huggingface_hub, "dataset_info", told)
    monkeypatch.setattr(huggingface_hub, "list_repo_files", listed)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    return asked


@pytest.mark.parametrize(
    ("name", "split", "files"),
    [
        ("bentrevett/multi30k", "val", ["val.jsonl"]),
        ("knkarthick/dialogsum", "validation", ["validation.csv"]),
        ("li2017dailydialog/daily_dialog", "test", ["default/test/0000.parquet"]),
        ("google-research-datasets/schema_guided_dstc8", "dialogues/train", ["dialogues/train/0000.parquet"]),
        (
            "sentence-transformers/parallel-sentences-tatoeba",
            "en-de/train",
            ["en-de/train-00000-of-00001.parquet"],
        ),
        ("twice/there", "train", ["data/train-0.jsonl", "data/train-1.jsonl"]),
        ("HuggingFaceH4/ultrachat_200k", "train_sft", ["data/train_sft-0.parquet"]),
        ("both/kinds", "train", ["train.parquet"]),
        ("both/kinds", "validation_matched", ["validation_matched.jsonl"]),
        ("both/kinds", "many/train", ["many/train_0.csv"]),
    ],
)
def test_of_a_dataset_the_files_of_the_split_are_read(hub, name, split, files):
    assert [str(path) for path in fetched(name, split)] == [f"/hub/{name}/{file}" for file in files]


def test_a_dataset_is_taken_as_it_was_at_a_revision(hub):
    fetched("bentrevett/multi30k", "test", "refs/convert/parquet")
    commit = "commit of refs/convert/parquet"
    assert hub == [("info", "refs/convert/parquet"), ("files", commit), ("test.jsonl", commit)]


def test_a_process_asks_once_and_goes_on_with_what_it_was_told(hub, monkeypatch):
    first = fetched("bentrevett/multi30k", "test")

    def gone(*_, **__):
        raise OSError("no network")

    monkeypatch.setattr(huggingface_hub, "dataset_info", gone)
    monkeypatch.setattr(huggingface_hub, "list_repo_files", gone)
    assert fetched("bentrevett/multi30k", "test") == first
    assert fetched("bentrevett/multi30k", "train")  # of the same commit
    assert {revision for what, revision in hub if what != "info"} == {"commit of None"}


def test_a_split_that_is_not_there_is_told(hub):
    with pytest.raises(
        DataError, match=r"hub:twice/there: has no test file of \.jsonl, .*; it has constraints\.jsonl, "
    ):
        fetched("twice/there", "test")


def test_a_dataset_that_cannot_be_fetched_is_told(monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(DataError, match=r"hub:a/b: cannot be fetched \(.*offline"):
        fetched("a/b", "train")
