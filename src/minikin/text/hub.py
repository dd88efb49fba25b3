"""Datasets of the Hugging Face hub: the files of a split, fetched once and then read like any other."""

import re
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

import huggingface_hub

from minikin.base.errors import DataError
from minikin.text.sources import SUFFIXES

_T = TypeVar("_T")


def fetched(name: str, split: str, revision: str | None = None) -> list[Path]:
    """The files of a split, in order; raises DataError if they cannot be had.

    A file is of a split whose name is a word of its path; "en-de/train" means those in the folder "en-de". Csv files
    are taken if there are no others: many a dataset is there twice. Revisions are branches, tags or commits.
    """
    told, advice = f"hub:{name}: cannot be fetched", "check the name and the network"
    listed = asked(told, advice, lambda: huggingface_hub.list_repo_files(name, repo_type="dataset", revision=revision))
    if not (chosen := _chosen(sorted(listed), split)):
        raise DataError(f"hub:{name}: has no {split} file of {', '.join(SUFFIXES)}; it has {', '.join(listed)}")
    fetch = partial(huggingface_hub.hf_hub_download, name, repo_type="dataset", revision=revision)
    return [Path(asked(told, advice, partial(fetch, file))) for file in chosen]


def asked(told: str, advice: str, question: Callable[[], _T]) -> _T:
    """What the hub answers; raises DataError with the reason, whatever kept it from answering."""
    try:
        return question()
    except Exception as error:  # the library's transport, and with it what it raises, is another in every few versions
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise DataError(f"{told} ({reason}); {advice}") from error


def _chosen(files: Sequence[str], split: str) -> list[str]:
    folder, slash, word = split.rpartition("/")
    inside = [file for file in files if file.startswith(folder + slash) and file.endswith(SUFFIXES)]
    found = [file for file in inside if _is_of(word, file.removeprefix(folder + slash))]
    return [file for file in found if not file.endswith(".csv")] or found


def _is_of(split: str, file: str) -> bool:
    """Whether the split is a word of the file's path: "latest" is no test."""
    return split.lower() in re.split(r"[^a-z]+", file.lower())
