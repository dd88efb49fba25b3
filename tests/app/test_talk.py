"""Conversations in the terminal: commands, members side by side, lines that go on, and Ctrl-C."""

import io
import signal
import sys
from functools import partial

import pytest
from fakes import TINY, member

from minikin.app.members import members_of, with_siblings
from minikin.app.speakers import Speakers
from minikin.app.talk import Talk, talk
from minikin.base.errors import CheckpointError
from minikin.engine.asking import Ended, Load, Ticket, Token
from minikin.engine.torch_engine import TorchEngine
from minikin.model.decoding import Decoding
from minikin.text.chat import Message


@pytest.fixture(scope="module")
def family(tmp_path_factory):
    folder = tmp_path_factory.mktemp("family")
    for seed, name in enumerate(("full", "nano", "mini"), 1):
        member(folder / name, TINY, seed)
    (folder / "recipe.json").write_text('{"member": {"full": {}, "mini": {}, "nano": {}}}')
    return folder


class Echo:
    """An engine that says back what it was asked, token by token; it knows what that was."""

    name, context = "echo", 64

    def __init__(self, folder, asked, ends=True):
        self.folder, self.asked, self.ends = folder.name, asked, ends

    def ask(self, ask, listener):
        self.asked.append((self.folder, ask))
        for number in range(3):
            listener(Token(id=number, text=f"{self.folder}{number} "))
        end = Ended(reason="cancelled", tokens=3)
        if self.ends:
            listener(Ended(reason="stop", tokens=3, text="!"))
        return Ticket(cancel=lambda: listener(end))

    def load(self):
        return Load(running=0, waiting=0, slots=1)

    def close(self):
        pass


@pytest.fixture
def asked():
    return []


@pytest.fixture
def talking(family, asked):
    speakers = Speakers(members_of(family), partial(Echo, asked=asked))
    return Talk(speakers=speakers, name="full", decoding=Decoding(max_new_tokens=8), seed=1)


def said(talking):
    return [(message.role, message.content) for message in talking.history]


def test_answers_are_remembered_and_forgotten(talking, asked, capsys):
    talking.take("Hello")
    assert capsys.readouterr().out == "full0 full1 full2 !\n"
    assert said(talking) == [("user", "Hello"), ("assistant", "full0 full1 full2 !")]
    talking.take("And?")
    assert len(asked[1][1].prompt) > len(asked[0][1].prompt)
    known = said(talking)
    talking.take("Summarize: It was cold.")  # stands alone
    assert len(asked[2][1].prompt) < len(asked[1][1].prompt)
    assert said(talking) == known
    talking.take("And?")
    assert len(asked[3][1].prompt) > len(asked[1][1].prompt)
    talking.take("/reset")
    assert said(talking) == []


def test_members_are_switched(talking, asked, capsys):
    talking.take("/member nano")
    talking.take("Hello")
    assert asked[-1][0] == "nano"
    talking.take("/member king")
    assert "king is no member here; there are full, mini, nano" in capsys.readouterr().err
    assert talking.name == "nano"


def test_all_are_asked_the_same_side_by_side(talking, asked, capsys):
    talking.take("/compare")
    assert "nothing was asked yet" in capsys.readouterr().err
    talking.take("/compare Hello")
    out = capsys.readouterr().out
    assert all(f"{name}0 {name}1" in out for name in ("full", "mini", "nano"))
    assert out.count("3 tokens in") == 3
    assert len({ask.prompt for _, ask in asked}) == 1
    assert said(talking) == []
    talking.take("One")
    talking.take("Two")
    talking.take("/compare")
    assert asked[-1][1].prompt == asked[-4][1].prompt
    assert [text for role, text in said(talking) if role == "user"] == ["One", "Two"]
    talking.take("/compare Translate to German: no")
    assert [text for role, text in said(talking) if role == "user"] == ["One", "Two"]
    talking.take("Translate to German: yes")
    alone = asked[-1][1].prompt
    talking.take("/compare")
    assert {ask.prompt for _, ask in asked[-3:]} == {alone}


def test_what_was_compared_can_be_compared_again(talking, asked):
    talking.take("/compare Hello")
    talking.take("/compare")
    assert [ask.prompt for _, ask in asked[:3]] == [ask.prompt for _, ask in asked[3:]]


def test_who_cannot_answer_does_not_silence_the_others(family, asked, capsys):
    def opened(folder):
        if folder.name == "mini":
            raise CheckpointError("mini: is damaged")
        return Echo(folder, asked)

    talking = Talk(
        speakers=Speakers(members_of(family), opened), name="full", decoding=Decoding(max_new_tokens=8), seed=1
    )
    talking.take("/compare Hello")
    out = capsys.readouterr().out
    assert "mini: is damaged" in " ".join(out.split())
    assert [name for name, _ in asked] == ["full", "nano"]


def test_ctrl_c_stops_comparing(family, asked):
    class Stopping(Echo):
        def ask(self, ask, listener):
            signal.raise_signal(signal.SIGINT)  # before there is anything to cancel
            return super().ask(ask, listener)

    talking = Talk(
        speakers=Speakers(members_of(family), partial(Stopping, asked=asked, ends=False)),
        name="full",
        decoding=Decoding(max_new_tokens=8),
        seed=1,
    )
    talking.take("/compare Hello")
    assert [name for name, _ in asked] == ["full"]


def test_ctrl_c_while_a_member_is_opened_does_not_end_the_conversation(family, asked, monkeypatch, capsys):
    def opened(folder):
        if folder.name == "nano":
            raise KeyboardInterrupt
        return Echo(folder, asked)

    class Terminal(io.TextIOWrapper):
        def isatty(self):
            return True

    monkeypatch.setattr(sys, "stdin", Terminal(io.BytesIO(b"Hello\n/member nano\nHello\n/member mini\nHello\n")))
    talk(Speakers(members_of(family), opened), "full", Decoding(max_new_tokens=8), 1)
    assert [name for name, _ in asked] == ["full", "mini"]
    assert "stopped" in capsys.readouterr().err


def test_what_was_stopped_before_a_word_was_not_said(family, asked):
    class Silent(Echo):
        def ask(self, ask, listener):
            listener(Ended(reason="cancelled"))
            return Ticket(cancel=lambda: None)

    speakers = Speakers(members_of(family), partial(Silent, asked=asked))
    talking = Talk(speakers=speakers, name="full", decoding=Decoding(max_new_tokens=8), seed=1)
    talking.take("Hello")
    assert said(talking) == []


def test_a_system_is_told_first(talking, asked):
    talking.take("Hello")
    talking.take("/system You are brief.")
    assert said(talking) == []
    talking.take("Hello")
    assert len(asked[1][1].prompt) > len(asked[0][1].prompt)
    talking.take("/system")
    talking.take("Hello")
    assert asked[2][1].prompt == asked[0][1].prompt


def test_help_and_what_is_no_command(talking, capsys):
    talking.take("/help")
    talking.take("/sing")
    complaints = capsys.readouterr().err
    assert "/member NAME     talk to another member: full, mini, nano" in complaints
    assert "/sing is no command; there are /reset" in complaints


def test_what_is_too_long_is_told_and_not_remembered(family, capsys):
    speakers = Speakers(members_of(family), TorchEngine)
    talking = Talk(speakers=speakers, name="full", decoding=Decoding(max_new_tokens=8), seed=1)
    talking.take("x" * 100)
    assert "the context of this member is 64" in capsys.readouterr().err
    assert said(talking) == []
    speakers.close()


def test_ctrl_c_stops_the_answer_and_nothing_else(family, asked):
    class Interrupted(Echo):
        def ask(self, ask, listener):
            ticket = super().ask(ask, listener)
            signal.setitimer(signal.ITIMER_REAL, 0.05)  # while the end is waited for
            return ticket

    heard = []
    before = signal.signal(signal.SIGALRM, lambda *_: signal.raise_signal(signal.SIGINT))
    try:
        speakers = Speakers(members_of(family), partial(Interrupted, asked=asked, ends=False))
        asking = [Message(role="user", content="Hello")]
        spoken = speakers.speak("full", asking, Decoding(max_new_tokens=8), 1, heard.append)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert spoken.stopped
    assert spoken.text == "".join(heard) == "full0 full1 full2 "


def test_what_comes_after_ctrl_c_is_not_remembered(family, asked):
    class Deaf(Echo):
        """It says all at once, and only when it is to stop."""

        def ask(self, ask, listener):
            signal.setitimer(signal.ITIMER_REAL, 0.05)
            return Ticket(cancel=lambda: super(Deaf, self).ask(ask, listener))

    heard = []
    before = signal.signal(signal.SIGALRM, lambda *_: signal.raise_signal(signal.SIGINT))
    try:
        speakers = Speakers(members_of(family), partial(Deaf, asked=asked))
        asking = [Message(role="user", content="Hello")]
        spoken = speakers.speak("full", asking, Decoding(max_new_tokens=8), 1, heard.append)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert (spoken.stopped, spoken.text, heard) == (True, "", [])


def test_lines_go_on_after_a_backslash(family, asked, monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"one\\\ntwo\n\n  \nthree\n")))
    talk(Speakers(members_of(family), partial(Echo, asked=asked)), "mini", Decoding(max_new_tokens=8), 1)
    assert capsys.readouterr().out.count("\n") == 2
    assert {name for name, _ in asked} == {"mini"}


def test_what_fails_is_told_and_the_conversation_goes_on(family, monkeypatch, capsys):
    class Failing(Echo):
        def ask(self, ask, listener):
            listener(Ended(reason="failed", problem="it died"))
            return Ticket(cancel=lambda: None)

    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"one\ntwo\\")))
    talk(Speakers(members_of(family), partial(Failing, asked=[])), "mini", Decoding(max_new_tokens=8), 1)
    assert capsys.readouterr().err.count("mini: it died") == 2


def test_a_folder_means_its_members(family, tmp_path):
    assert [path.name for path in members_of(family)] == ["full", "mini", "nano"]
    assert members_of(family / "mini") == [family / "mini"]
    siblings, name = with_siblings(family / "mini")
    assert ([path.name for path in siblings], name) == (["full", "mini", "nano"], "mini")
    assert with_siblings(family)[1] == "full"
    with pytest.raises(CheckpointError, match="no such folder"):
        members_of(tmp_path / "none")
    with pytest.raises(CheckpointError, match="holds no member"):
        members_of(tmp_path)
