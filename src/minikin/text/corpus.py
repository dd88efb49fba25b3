"""Documents as tokens on disk, memory-mapped: any number of them in little RAM.

Three files: the tokens, which of them are the answer, and where each document begins.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy
from numpy.typing import NDArray

from minikin.base.errors import DataError
from minikin.base.files import read_json
from minikin.text.chat import Example, encode_example
from minikin.text.records import Record
from minikin.text.tokenizer import Tokenizer

_TOKENS, _ANSWER, _STARTS, _ABOUT = "tokens.bin", "answer.bin", "starts.bin", "corpus.json"


@dataclass(frozen=True, kw_only=True)
class CorpusSize:
    """How much a corpus holds."""

    documents: int
    tokens: int
    answer_tokens: int


@final
class Corpus:
    """A written corpus, read by document."""

    def __init__(self, folder: Path) -> None:
        self.name = str(folder)
        about = read_json(folder / _ABOUT)
        self.size = CorpusSize(**about["size"])
        # seen as plain arrays: every slice of a memmap is wrapped anew, which cost half of what a batch did
        self.starts: NDArray[numpy.int64] = numpy.asarray(numpy.memmap(folder / _STARTS, dtype=numpy.int64, mode="r"))
        self.tokens = numpy.asarray(numpy.memmap(folder / _TOKENS, dtype=about["dtype"], mode="r"))
        self.answer = numpy.asarray(numpy.memmap(folder / _ANSWER, dtype=numpy.bool_, mode="r"))

    def __len__(self) -> int:
        return self.size.documents

    def answers_in(self, first: int, count: int) -> bool:
        """Whether any of `count` tokens from `first` on is an answer that follows another of them."""
        return bool(self.answer[first + 1 : first + count].any())


def write_records(folder: Path, records: Iterable[Record], tokenizer: Tokenizer) -> CorpusSize:
    """Write records as documents into a folder that is made; raises DataError if there is none."""
    folder.mkdir(parents=True)
    return write_corpus(folder, (encode_example(tokenizer, record) for record in records), tokenizer.vocab_size)


def write_corpus(folder: Path, examples: Iterable[Example], vocab_size: int) -> CorpusSize:
    """Write documents one after another into an existing folder; raises DataError if there is none."""
    dtype = numpy.dtype(numpy.uint16 if vocab_size <= 1 << 16 else numpy.uint32)
    documents, written, answers = 0, 0, 0
    with (
        (folder / _TOKENS).open("wb") as tokens,
        (folder / _ANSWER).open("wb") as answer,
        (folder / _STARTS).open("wb") as starts,
    ):
        starts.write(_start(0))
        for example in examples:
            tokens.write(numpy.asarray(example.tokens, dtype=dtype).tobytes())
            answer.write(numpy.asarray(example.answer, dtype=numpy.bool_).tobytes())
            documents, written, answers = documents + 1, written + len(example.tokens), answers + sum(example.answer)
            starts.write(_start(written))
    size = CorpusSize(documents=documents, tokens=written, answer_tokens=answers)
    if not size.tokens:
        raise DataError(f"{folder.parent.name}/{folder.name}: no example to write; check the recipe's data")
    (folder / _ABOUT).write_text(json.dumps({"dtype": dtype.name, "size": vars(size)}))
    return size


def _start(token: int) -> bytes:
    return numpy.int64(token).tobytes()
