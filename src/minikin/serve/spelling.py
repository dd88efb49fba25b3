"""What single tokens are called where their log probabilities are told."""

from dataclasses import dataclass
from functools import lru_cache
from typing import final

from minikin.text.tokenizer import Tokenizer

_REMEMBERED = 1 << 14  # tokens; some three megabytes


@dataclass(frozen=True, kw_only=True)
class Spelt:
    """A token's text, and the bytes of it; special tokens have none, and are shown by their names.

    `name` is the text too, or the bytes if they are but a part of a character.
    """

    text: str
    name: str
    bytes: tuple[int, ...] = ()


@final
class Spelling:
    """Of one tokenizer; most of what is told are the same few tokens, so they are remembered."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self.of = lru_cache(_REMEMBERED)(self._of)

    def _of(self, token: int) -> Spelt:
        spelt = self._tokenizer.bytes_of(token)
        if not spelt:
            name = self._tokenizer.piece_of(token)
            return Spelt(text=name, name=name)
        text = spelt.decode(errors="replace")
        whole = text.encode() == spelt
        name = text if whole else "bytes:" + "".join(f"\\x{byte:02x}" for byte in spelt)
        return Spelt(text=text, name=name, bytes=tuple(spelt))
