"""A plain conversation in the terminal: a line in, an answer streamed out."""

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch

from minikin.base.errors import CheckpointError
from minikin.model.checkpoint import load
from minikin.model.decoder import Decoder
from minikin.model.decoding import Decoding, adjuster, chooser, decode
from minikin.model.generate import stream
from minikin.text.chat import Message, encode_prompt
from minikin.text.tokenizer import Tokenizer

_GREETING = """\
Ask in one line. "Translate to German: …", "Translate to English: …" and
"Summarize: …" stand alone; anything else goes on with the conversation.
/reset forgets it, Ctrl-C stops an answer, Ctrl-D ends.
"""


def talk(folder: Path, decoding: Decoding, seed: int) -> None:
    """Converse until the input ends; a pipe's lines are answered one by one, without prompts."""
    if not folder.is_dir():
        raise CheckpointError(f"{folder}: no such folder; name a member's folder such as families/village/nano")
    decoder, tokenizer = load(folder).eval(), Tokenizer.load(folder)
    generator = torch.Generator().manual_seed(seed)
    if sys.stdin.isatty():
        sys.stderr.write(_GREETING)
    sys.stdin.reconfigure(encoding="utf-8", errors="replace")  # pyright: ignore[reportAttributeAccessIssue]
    history: list[Message] = []
    for line in _lines():
        if line == "/reset" or line.startswith(("Translate to ", "Summarize: ")):
            history = []
        if line == "/reset":
            continue
        history.append(Message(role="user", content=line))
        answer = _say(decoder, tokenizer, history, decoding, generator)
        history.append(Message(role="assistant", content=answer))


def _lines() -> Iterator[str]:
    while True:
        if sys.stdin.isatty():
            sys.stderr.write("› ")
            sys.stderr.flush()
        try:
            line = sys.stdin.readline()
        except KeyboardInterrupt:
            sys.stderr.write("\n")
            return
        if not line:
            return
        if line.strip():
            yield line.strip()


def _say(
    decoder: Decoder, tokenizer: Tokenizer, history: list[Message], decoding: Decoding, generator: torch.Generator
) -> str:
    """Print an answer while it is made, or when its search is done; Ctrl-C ends it early."""
    prompt = encode_prompt(tokenizer, history)
    room = decoder.config.max_position_embeddings - len(prompt)
    if room < 1:
        sys.stderr.write(f"the conversation is {-room} tokens too long for this member; /reset to begin anew\n")
        return ""
    decoding = replace(decoding, max_new_tokens=min(room, decoding.max_new_tokens))
    shown = ""
    try:
        for said in _growing(decoder, prompt, decoding, generator):
            text = tokenizer.decode(said)
            # a character whose bytes are not all there yet ends in a replacement mark
            if not text.endswith("\ufffd"):
                sys.stdout.write(text[len(shown) :])
                sys.stdout.flush()
                shown = text
    except KeyboardInterrupt:
        sys.stderr.write(" …stopped")
    sys.stdout.write("\n")
    sys.stdout.flush()
    return shown


def _growing(
    decoder: Decoder, prompt: list[int], decoding: Decoding, generator: torch.Generator
) -> Iterator[list[int]]:
    """An answer as far as it is known, again and again; beams tell only the whole one."""
    if decoding.num_beams > 1:
        yield decode(decoder, [prompt], decoding, generator)[0]
        return
    said: list[int] = []
    longest = decoding.max_new_tokens
    for column in stream(decoder, [prompt], longest, chooser(decoding, generator), adjuster(decoding)):
        said.append(column[0][1])
        yield said
