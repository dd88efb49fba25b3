"""A conversation in the terminal: lines in, an answer streamed out, and a few commands."""

import importlib
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from minikin.app.speakers import Speakers, Spoken
from minikin.base.errors import MinikinError, TooLongError
from minikin.model.decoding import Decoding
from minikin.text.chat import Message

_HELP = """\
Ask in a line; one that ends with \\ goes on in the next. Ctrl-C stops an answer, Ctrl-D ends.
"Translate to German: …", "Translate to English: …" and "Summarize: …" stand alone and leave
the conversation as it is; anything else goes on with it.

/member NAME     talk to another member: {names}
/compare [TEXT]  ask all members the same, side by side; without a text, the last question again
/system [TEXT]   tell members who they are; without a text, nothing
/reset           forget the conversation
/help            this
"""
_ALONE = ("Translate to ", "Summarize: ")


@final
@dataclass(kw_only=True)
class Talk:
    """One conversation; `name` is the member that answers."""

    speakers: Speakers
    name: str
    decoding: Decoding
    seed: int
    history: list[Message] = field(default_factory=list[Message])
    last: tuple[str, list[Message]] | None = None  # question, and the conversation before it
    system: str = ""

    def take(self, line: str) -> None:
        """Answer a line, or do what it commands."""
        word, _, rest = line.partition(" ")
        commands: dict[str, Callable[[str], None]] = {
            "/reset": self._reset,
            "/member": self._member,
            "/compare": self._compare,
            "/system": self._system,
            "/help": self._help,
        }
        if word in commands:
            commands[word](rest.strip())
        elif word.startswith("/"):
            _note(f"{word} is no command; there are {', '.join(commands)}")
        else:
            self._answer(line)

    def _answer(self, line: str) -> None:
        alone = line.startswith(_ALONE)
        before = [] if alone else self.history
        asked = self._asked(line, before)
        try:
            spoken = self.speakers.speak(self.name, asked, self.decoding, self.seed + len(asked), _write)
        except TooLongError as error:
            _note(f"{error}; or /reset to begin anew")
            sys.stdout.write("\n")
            return
        _write("\n")
        if sys.stdout.isatty():
            _note(f"{self.name} · {spoken}")
        self.last = line, before
        # what was not answered was not said, or it would stand in the way of all that follows
        if spoken.text and not alone:
            told = (Message(role="user", content=line), Message(role="assistant", content=spoken.text))
            self.history = [*before, *told]

    def _asked(self, line: str, before: Sequence[Message]) -> list[Message]:
        """What a member is told: who it is, what was said before, and the line."""
        told = [Message(role="system", content=self.system)] if self.system else []
        return [*told, *before, Message(role="user", content=line)]

    def _compare(self, text: str) -> None:
        if text:
            self.last = text, [] if text.startswith(_ALONE) else self.history
        if not self.last:
            _note("nothing was asked yet; /compare TEXT")
            return
        asked = self._asked(*self.last)
        table, row, times = Table(expand=True), list[Text](), list[Text]()
        for name in self.speakers.names:
            table.add_column(name, ratio=1)
            spoken = self._heard(name, asked)
            row.append(Text(spoken.text) if isinstance(spoken, Spoken) else Text(str(spoken), style="red"))
            times.append(Text(str(spoken) if isinstance(spoken, Spoken) else "", style="dim"))
            if isinstance(spoken, Spoken) and spoken.stopped:
                break
        table.add_row(*row)
        table.add_row(*times)
        (Console() if sys.stdout.isatty() else Console(width=100)).print(table)

    def _heard(self, name: str, asked: Sequence[Message]) -> Spoken | MinikinError:
        """A member's whole answer, or why it has none: the others may answer all the same."""
        try:
            return self.speakers.speak(name, asked, self.decoding, self.seed + len(asked), lambda _: None)
        except MinikinError as error:
            return error

    def _member(self, name: str) -> None:
        if name not in self.speakers.names:
            _note(f"{name or 'nobody'} is no member here; there are {', '.join(self.speakers.names)}")
            return
        self.name = name

    def _system(self, text: str) -> None:
        self._reset("")
        self.system = text

    def _reset(self, _: str) -> None:
        self.history, self.last = [], None

    def _help(self, _: str) -> None:
        _note(_HELP.format(names=", ".join(self.speakers.names)).rstrip())


def talk(speakers: Speakers, name: str, decoding: Decoding, seed: int) -> None:
    """Converse until the input ends; a pipe's lines are answered one by one, without prompts."""
    engine, _ = speakers.engine(name)  # what is wrong with it is told at once
    talking = Talk(speakers=speakers, name=name, decoding=decoding, seed=seed)
    sys.stdin.reconfigure(encoding="utf-8", errors="replace")  # pyright: ignore[reportAttributeAccessIssue]
    if sys.stdin.isatty():
        _note(f"You talk to {name} ({engine.name}); /help tells how.")
    for line in _lines(talking):
        try:
            talking.take(line)
        except MinikinError as error:  # what goes wrong with one line does not end the conversation
            _note(str(error))
            if not sys.stdin.isatty():
                _write("\n")  # a pipe has a line for every line
        except KeyboardInterrupt:  # while a member was opened, or between two answers
            _note("\nstopped")
            if not sys.stdin.isatty():
                return


def _lines(talking: Talk) -> Iterator[str]:
    """Lines that say something, each with those that it goes on in."""
    before = ""
    while True:
        try:
            line = before + _read("… " if before else f"{talking.name} › ")
        except KeyboardInterrupt:
            sys.stderr.write("\n")
            if not sys.stdin.isatty():
                return
            before = ""  # who types has thought better of it
            continue
        except EOFError:
            if before.strip():
                yield before.strip()
            return
        before = line[:-1] + "\n" if line.endswith("\\") else ""
        if not before and line.strip():
            yield line.strip()


def _read(prompt: str) -> str:
    """A line without its end, with history and arrow keys where there are keys; raises EOFError when no more comes."""
    if sys.stdin.isatty() and sys.stdout.isatty():
        with suppress(ImportError):  # not everywhere; it takes over `input` by being there
            importlib.import_module("readline")
        return input(prompt)
    line = sys.stdin.readline()
    if not line:
        raise EOFError
    return line.rstrip("\n")


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def _note(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()
