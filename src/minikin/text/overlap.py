"""Which test examples are in the training data already, word for word or nearly.

Texts are compared as words: folded in case, without punctuation and without the speaker's name before a turn. In
scripts that leave no spaces every sign is a word.

What is compared of a test example is what would give the answer away: of a translation both sides, each by itself; of a
summary only its document, for short summaries recur; of a dialogue or a selection all turns with the true reply. They
are held against all training data, whatever its task, because the same conversation is one data set's dialogue and
another's document.

*Exact*: the text is a training text: a side of a translation, a document, a line of plain text, or a dialogue up to any
of its turns.

*Near*: one training record has at least 70 % of its runs of words. Runs of eight words, of which PaLM's authors took
the same share (Chowdhery et al. 2022, section 8), there from wherever in the training data; here in one record, because
a small world says new things in runs that are all known. Runs of five words, as Lee et al. 2022 compared documents,
where the text is one side of a translation: GPT-3's thirteen are more than a sentence has. A text that has no run can
only be exact.

Held in memory is what the test needs; training data passes by.
"""

import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import final

from minikin.text.records import Dialogue, Record, Selection, Summarization, Text, Translation, Turn

NEAR = 0.7
SENTENCE, DOCUMENT = 5, 8  # words in a run
_SHOWN = 5
_LONGEST_NAME = 24  # letters before a colon that are still taken for a speaker
# Thai to Myanmar, Khmer, kana, Han: written without spaces
_UNSPACED = (
    (0x0E00, 0x109F),
    (0x1780, 0x17FF),
    (0x3040, 0x30FF),
    (0x3400, 0x9FFF),
    (0xF900, 0xFAFF),
    (0x20000, 0x3FFFF),
)


@dataclass(frozen=True, kw_only=True)
class Overlap:
    """How many of a task's `examples` occur in the training data exactly, and how many others nearly; a few of each."""

    examples: int
    exact: int
    near: int
    shown_exact: tuple[str, ...]
    shown_near: tuple[str, ...]


def overlaps(tests: Mapping[str, Sequence[Record]], training: Iterable[Record]) -> dict[str, Overlap]:
    """Hold test examples, by task, against training records, which are read once."""
    index = _Index([record for records in tests.values() for record in records])
    for record in training:
        index.meet(record)
    return {task: _summed(index, records) for task, records in tests.items()}


def normalized(text: str) -> list[str]:
    """The words by which texts are compared."""
    one_form = unicodedata.normalize("NFKC", text)  # é is one sign or two, as the system has it that wrote it
    return " ".join(_unnamed(line) for line in one_form.split("\n")).casefold().translate(_BARE).split()


def _unnamed(line: str) -> str:
    """A line without the speaker's name: "#Person1#: Hello" says "Hello"."""
    name, colon, said = line.partition(": ")
    return said if colon and len(name) <= _LONGEST_NAME and len(name.split()) <= 2 else line


class _Bare(dict[int, str]):
    """What stands for a character: itself, a space for punctuation, itself between spaces in unspaced scripts.

    Nothing stands for what is not seen, a soft hyphen for example.
    """

    def __missing__(self, code: int) -> str:
        sign = chr(code)
        if unicodedata.category(sign) == "Cf":
            self[code] = ""
        elif any(first <= code <= last for first, last in _UNSPACED):
            self[code] = f" {sign} " if unicodedata.category(sign)[0] in "LN" else ""
        else:
            self[code] = sign if unicodedata.category(sign)[0] in "LNM" else " "
        return self[code]


_BARE = _Bare()


@final
class _Index:
    """The test's texts and their runs of words, and how much of each text training has met so far."""

    def __init__(self, records: Iterable[Record]) -> None:
        self._at: dict[str, int] = {}  # texts, numbered
        self._whole: set[str] = set()  # those that are training texts
        self._sizes: list[int] = []  # how many runs each has
        self._met: list[float] = []  # and the largest share of them in one record
        self._having: dict[int, dict[str, list[int]]] = {SENTENCE: {}, DOCUMENT: {}}
        for record in records:
            for words, length in _asked(record):
                self._add(words, length)

    def _add(self, words: Sequence[str], length: int) -> None:
        text, runs = " ".join(words), set(_runs(words, length))
        if text in self._at:
            return
        self._at[text] = len(self._sizes)
        for run in runs:
            self._having[length].setdefault(run, []).append(len(self._sizes))
        self._sizes.append(len(runs))
        self._met.append(0.0)

    def meet(self, record: Record) -> None:
        """Note what of the test occurs in a training record."""
        said = _said(record)
        self._whole.update(text for text in _told(record, said) if text in self._at)
        words = _on_end(record, said)
        for length, having in self._having.items():
            if having:
                found = {run for part in words for run in _runs(part, length) if run in having}
                for text, count in Counter(text for run in found for text in having[run]).items():
                    self._met[text] = max(self._met[text], count / self._sizes[text])

    def exact(self, record: Record) -> bool:
        """Whether one of its texts is a training text."""
        return any(" ".join(words) in self._whole for words, _ in _asked(record))

    def near(self, record: Record) -> bool:
        """Whether one of its texts is nearly in a training record, and none is one."""
        met = (self._met[self._at[" ".join(words)]] for words, _ in _asked(record))
        return not self.exact(record) and max(met, default=0.0) >= NEAR


def _summed(index: _Index, records: Sequence[Record]) -> Overlap:
    exact = [record for record in records if index.exact(record)]
    near = [record for record in records if index.near(record)]
    return Overlap(
        examples=len(records),
        exact=len(exact),
        near=len(near),
        shown_exact=tuple(_shown(record) for record in exact[:_SHOWN]),
        shown_near=tuple(_shown(record) for record in near[:_SHOWN]),
    )


def _runs(words: Sequence[str], length: int) -> Iterator[str]:
    return (" ".join(words[first : first + length]) for first in range(len(words) - length + 1))


def _asked(record: Record) -> list[tuple[list[str], int]]:
    """The words of what is compared of a test example, and how long its runs are."""
    length = SENTENCE if isinstance(record, Translation) else DOCUMENT
    return [(words, length) for words in _parts(record) if words]


def _parts(record: Record) -> list[list[str]]:
    """What is compared of a test example, in words."""
    said = _said(record)
    return said[:1] if isinstance(record, Summarization) else _on_end(record, said)


def _said(record: Record) -> list[list[str]]:
    """All that a record says in words: two sides, a document and its summary, turns, lines."""
    match record:
        case Translation(source=source, target=target):
            return [normalized(source), normalized(target)]
        case Summarization(document=document, summary=summary):
            return [normalized(document), normalized(summary)]
        case Dialogue() | Selection():
            return [normalized(turn.text) for turn in _turns(record)]
        case Text(text=text):
            return [normalized(line) for line in text.split("\n")]


def _on_end(record: Record, said: list[list[str]]) -> list[list[str]]:
    """Turns and lines one after another, as one text; all else by itself."""
    return [list(chain.from_iterable(said))] if isinstance(record, Dialogue | Selection | Text) else said


def _told(record: Record, said: list[list[str]]) -> Iterator[str]:
    """What a test text may be equal to."""
    so_far = ""
    for words in said:
        so_far = " ".join((so_far, *words)).strip() if isinstance(record, Dialogue | Selection) else " ".join(words)
        yield so_far


def _turns(record: Dialogue | Selection) -> tuple[Turn, ...]:
    if isinstance(record, Dialogue):
        return record.turns
    return (*record.context, Turn(role=record.role, text=record.candidates[record.answer]))


def _shown(record: Record) -> str:
    match record:
        case Translation(source=source, target=target):
            text = f"{source} → {target}"
        case Summarization(document=document):
            text = document
        case Text(text=text):
            pass
        case Dialogue() | Selection():
            text = " – ".join(turn.text for turn in _turns(record))
    return text if len(text) <= 300 else f"{text[:299]}…"
