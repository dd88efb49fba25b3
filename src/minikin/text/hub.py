"""Datasets of the Hugging Face hub: the files of a split, fetched once and then read like any other.

A process sees a dataset as it was when it first asked for it, whatever is done to it on the hub meanwhile.
"""

import re
from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path
from typing import TypeVar

import huggingface_hub

from minikin.base.errors import DataError
from minikin.text.rows import SUFFIXES

_T = TypeVar("_T")
_ADVICE = "check the name and the network"
_KINDS = (".parquet", (".jsonl", ".jsonl.gz"), ".csv")  # the first that there is of a split: many are there twice
_SHOWN = 12  # names of files in a message


@cache
def fetched(name: str, split: str, revision: str | None = None) -> tuple[Path, ...]:
    """The files of a split, in order; raises DataError if they cannot be had.

    A file is of a split whose name is a word of its path; "en-de/train" means those in the folder "en-de". Revisions
    are branches, tags or commits.
    """
    commit, listed = _listed(name, revision)
    if not (chosen := _chosen(listed, split)):
        there = ", ".join(listed[:_SHOWN]) + (f" and {len(listed) - _SHOWN} more" if len(listed) > _SHOWN else "")
        raise DataError(f"hub:{name}: has no {split} file of {', '.join(SUFFIXES)}; it has {there}")
    fetch = partial(huggingface_hub.hf_hub_download, name, repo_type="dataset", revision=commit)
    return tuple(Path(asked(_told(name), _ADVICE, partial(fetch, file))) for file in chosen)


def asked(told: str, advice: str, question: Callable[[], _T]) -> _T:
    """What the hub answers; raises DataError with the reason, whatever kept it from answering."""
    try:
        return question()
    except Exception as error:  # the library's transport, and with it what it raises, is another in every few versions
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise DataError(f"{told} ({reason}); {advice}") from error


@cache
def _listed(name: str, revision: str | None) -> tuple[str, tuple[str, ...]]:
    """The commit that a revision is now, and the names of its files."""
    found = asked(_told(name), _ADVICE, lambda: huggingface_hub.dataset_info(name, revision=revision))
    commit = found.sha or revision or "main"
    listing = partial(huggingface_hub.list_repo_files, name, repo_type="dataset", revision=commit)
    return commit, tuple(sorted(asked(_told(name), _ADVICE, listing)))


def _told(name: str) -> str:
    return f"hub:{name}: cannot be fetched"


def _chosen(files: Sequence[str], split: str) -> list[str]:
    folder, slash, word = split.rpartition("/")
    inside = {file: file.removeprefix(folder + slash) for file in files if file.startswith(folder + slash)}
    # train_sft is another split than train where both are; where there is no other, train_0 is of train
    for apart in ("a-z0-9_", "a-z"):
        found = [file for file, rest in inside.items() if _is_of(word, rest, apart)]
        for kind in _KINDS:
            if of_kind := [file for file in found if file.endswith(kind)]:
                return of_kind
    return []


def _is_of(split: str, file: str, letters: str) -> bool:
    """Whether the split is a word of the file's path, made of such letters: "latest" is no test."""
    return bool(re.search(f"(?<![{letters}]){re.escape(split.lower())}(?![{letters}])", file.lower()))
