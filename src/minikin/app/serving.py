"""`minikin serve`: every member of a family behind one address."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from minikin.app.engines import EngineName, opened
from minikin.app.members import members_of
from minikin.base.device import prepare_to_answer
from minikin.base.errors import EngineError
from minikin.serve.house import House, Served
from minikin.serve.server import LOOPBACK, bound
from minikin.serve.server import serve as serve_house
from minikin.text.tokenizer import Tokenizer

_KEY = "MINIKIN_API_KEY"


def serve(
    family: Path,
    *,
    host: str,
    port: int,
    key: str | None,
    names: Sequence[str],
    engine: EngineName,
    kind: str,
    slots: int,
    queue: int,
    threads: int,
) -> None:
    """Open all members, then serve until asked to stop; raises MinikinError if one cannot be opened."""
    if key is not None and not key.strip():
        raise EngineError(f"--api-key: is empty; give a key, or leave the option out to be asked without ({_KEY})")
    key = (key or os.environ.get(_KEY) or "").strip() or None
    if host not in LOOPBACK and key is None:
        raise EngineError(
            f"--host {host}: others could ask without a key; give one with --api-key or {_KEY}, or stay on 127.0.0.1"
        )
    members = members_of(family)
    listening = bound(host, port)  # before the members are read, which may take long
    prepare_to_answer(threads or None)
    house = House([_served(member, engine, kind, slots, queue) for member in members])
    port = listening.getsockname()[1]
    shown = f"[{host}]" if ":" in host else host
    address = f"http://{shown}:{port}"

    def ready() -> None:
        told = ", ".join(f"{member.name} ({member.engine.name})" for member in house)
        _say(f"{told}\nserving at {address} (a page to try it) and {address}/v1 (the OpenAI API); Ctrl-C ends")

    serve_house(house, listening, {*LOOPBACK, host.lower(), *(name.lower() for name in names)}, key, ready)


def _served(member: Path, engine: EngineName, kind: str, slots: int, queue: int) -> Served:
    tokenizer = Tokenizer.load(member)
    answering = opened(member, engine, kind, slots=slots, queue=queue)
    return Served(name=member.resolve().name, engine=answering, tokenizer=tokenizer)


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")
    sys.stderr.flush()
