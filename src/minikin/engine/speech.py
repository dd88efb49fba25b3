"""Token ids to text as it grows: whole characters only, and nothing of a stop sequence."""

from collections.abc import Sequence
from typing import final

from minikin.text.tokenizer import Tokenizer

_MOST_BYTES = 4  # of a character: more that make none never will
_BROKEN = "\ufffd"  # what a character decodes to while some of its bytes are missing


@final
class Speech:
    """The text of one answer, from its tokens."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._waiting: list[int] = []  # parts of one character; whatever is before them is said and done with

    def more(self, token: int) -> str:
        """What is sure once this token is known; often nothing."""
        alone = self._tokenizer.decode([token])
        if not alone:
            return ""  # it has no text, and must not stand between the bytes of a character
        self._waiting.append(token)
        fresh = self._tokenizer.decode(self._waiting) if len(self._waiting) > 1 else alone
        waits = len(self._waiting) < _MOST_BYTES and fresh == _BROKEN * len(self._waiting)
        if waits and len(self._tokenizer.bytes_of(token)) == 1:  # and not the character that means a broken one
            return ""
        self._waiting = []
        return fresh

    def rest(self) -> str:
        """What was held back, if nothing more comes."""
        fresh, self._waiting = self._tokenizer.decode(self._waiting), []
        return fresh


@final
class Stops:
    """Text up to the first stop sequence that is complete; `reached` is True once there was one."""

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = [stop for stop in stops if stop]
        self._held = ""
        self.reached = False

    def more(self, fresh: str) -> str:
        """All that no stop sequence can begin in any more."""
        if self.reached:
            return ""
        text = self._held + fresh
        ends = [at for stop in self._stops if (at := text.find(stop)) >= 0]
        if ends:
            self.reached, self._held = True, ""
            return text[: min(ends)]
        hold = max((_begun(text, stop) for stop in self._stops), default=0)
        self._held = text[len(text) - hold :]
        return text[: len(text) - hold]

    def rest(self) -> str:
        """What was held back, if nothing more comes."""
        held, self._held = self._held, ""
        return held


def _begun(text: str, stop: str) -> int:
    """How many of the last characters a stop sequence begins with."""
    return next((size for size in range(min(len(stop) - 1, len(text)), 0, -1) if text.endswith(stop[:size])), 0)
