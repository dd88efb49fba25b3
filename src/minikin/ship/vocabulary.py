"""A member's tokenizer as llama.cpp's "gemma4" reads it: BPE on raw text, `▁` for the space, bytes to fall back on.

llama.cpp knows this tokenizer by name and brings its own rules, so a tokenizer with other rules is refused.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gguf import TokenType

from minikin.base.errors import TokenizerError
from minikin.base.files import read_json
from minikin.text.tokenizer import SETTINGS, TEMPLATE, TOKENIZER

_BYTE = re.compile(r"<0x[0-9A-F]{2}>")
_SPACE = {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}
# Gemma's own splits at spaces, of which the normaliser has left none
_NO_SPLIT = (None, {"type": "Split", "pattern": {"String": " "}, "behavior": "MergedWithPrevious", "invert": False})


@dataclass(frozen=True, kw_only=True)
class Vocabulary:
    """Tokens by id, what each is, how they merge, and the ids with a role."""

    tokens: tuple[str, ...]
    types: tuple[TokenType, ...]
    merges: tuple[str, ...]
    roles: Mapping[str, int]
    chat_template: str | None


def read_vocabulary(folder: Path, size: int) -> Vocabulary:
    """The vocabulary of a member whose embedding has `size` rows; raises TokenizerError if llama.cpp differs."""
    path = folder / TOKENIZER
    if not path.is_file():
        raise TokenizerError(f"{folder}: has no {TOKENIZER}; build the member again or point to another folder")
    stored = read_json(path)
    try:
        complaints = list(_complaints(stored, size))
        tokens, types = _tokens(stored, size)
        merges = tuple(_merge(pair) for pair in stored["model"]["merges"])
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise TokenizerError(f"{path}: lacks or garbles {error}; it was written by another program") from error
    for complaint in complaints:
        raise TokenizerError(f"{path}: {complaint}")
    return Vocabulary(
        tokens=tokens,
        types=types,
        merges=merges,
        roles=_roles(folder, {text: index for index, text in enumerate(tokens)}),
        chat_template=chat_template_of(folder),
    )


def _complaints(stored: Mapping[str, Any], size: int) -> Iterable[str]:
    model = stored["model"]
    if model.get("type") != "BPE" or not model.get("byte_fallback"):
        yield f"is a {model.get('type')!r} tokenizer; llama.cpp's gemma4 is BPE that falls back on bytes"
        return
    if model.get("continuing_subword_prefix") or model.get("end_of_word_suffix") or model.get("ignore_merges"):
        yield "marks the parts of words or ignores merges, which llama.cpp's gemma4 does not"
    if stored.get("normalizer") != _SPACE or stored.get("pre_tokenizer") not in _NO_SPLIT:
        yield "changes or splits text otherwise than llama.cpp's gemma4, which only writes ▁ for spaces"
    if sum(1 for text in model["vocab"] if _BYTE.fullmatch(text)) != 256:
        yield "lacks some of the tokens <0x00> to <0xFF>, on which unknown letters fall back"
    largest = max(_ids(stored), default=-1)
    if largest >= size:
        yield f"has a token {largest}, but the embedding only {size} rows; tokenizer and weights do not belong together"
    # llama.cpp never lets a merge cross from newlines to anything else, nor back
    if any(_crosses_lines(_merge(pair).replace(" ", "")) for pair in model["merges"]):
        yield "merges newlines with other text, which llama.cpp's gemma4 never does"


def _tokens(stored: Mapping[str, Any], size: int) -> tuple[tuple[str, ...], tuple[TokenType, ...]]:
    added = {entry["id"]: entry for entry in stored.get("added_tokens", [])}
    known = _ids(stored)
    # rows beyond the tokenizer, with which an embedding is rounded up, can never be meant
    tokens = tuple(known.get(index, f"[PAD{index}]") for index in range(size))
    types = tuple(_type(tokens[index], added.get(index), known=index in known) for index in range(size))
    return tokens, types


def _ids(stored: Mapping[str, Any]) -> dict[int, str]:
    known = {index: text for text, index in stored["model"]["vocab"].items()}
    return known | {entry["id"]: entry["content"] for entry in stored.get("added_tokens", [])}


def _type(text: str, added: Mapping[str, Any] | None, *, known: bool) -> TokenType:
    if not known:
        return TokenType.UNUSED
    if _BYTE.fullmatch(text):
        return TokenType.BYTE
    if added is None:
        # <unusedN>, too: it decodes to its name here, and to nothing in llama.cpp if it were UNUSED there
        return TokenType.NORMAL
    return TokenType.CONTROL if added.get("special") else TokenType.USER_DEFINED


def _merge(pair: str | list[str]) -> str:
    """The two parts with a space between: no part holds one, since text does not by the time it is merged."""
    parts = pair.split(" ") if isinstance(pair, str) else pair
    if len(parts) != 2 or any(" " in part for part in parts):
        raise ValueError(f"the merge {pair!r}")
    return " ".join(parts)


def _crosses_lines(text: str) -> bool:
    return "\n" in text and text.strip("\n") != ""


def _roles(folder: Path, ids: Mapping[str, int]) -> dict[str, int]:
    """Ids of the tokens with a part to play, by the names that GGUF has for them."""
    settings = _settings(folder)
    roles = {}
    for role, key in (("bos", "bos"), ("eos", "eos"), ("unknown", "unk"), ("padding", "pad")):
        named = settings.get(f"{key}_token", f"<{key}>")
        text = named.get("content") if isinstance(named, dict) else named
        if isinstance(text, str) and text in ids:
            roles[role] = ids[text]
    if "<turn|>" in ids:
        roles["eot"] = ids["<turn|>"]
    return roles


def chat_template_of(folder: Path) -> str | None:
    """A member's chat template: a file of its own, or among the tokenizer's settings as in older checkpoints."""
    if (folder / TEMPLATE).is_file():
        return (folder / TEMPLATE).read_text(encoding="utf-8")
    template = _settings(folder).get("chat_template")
    return template if isinstance(template, str) else None


def _settings(folder: Path) -> Mapping[str, Any]:
    path = folder / SETTINGS
    return read_json(path) if path.is_file() else {}
