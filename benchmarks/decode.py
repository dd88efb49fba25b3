"""Claim: members answer as fast as llama.cpp runs them, and PyTorch alone within three times of that.

    python benchmarks/decode.py MEMBER… [--threads N]

Every engine answers in a process of its own, one after the other, with the same prompts: `torch` and `llama.cpp`
through our interface, Transformers' `generate`, llama.cpp `alone` as it times itself, and what it `streams` to whoever
reads its bytes and does nothing with them. It prints tokens/s of reading 512 tokens and of writing 128 (fastest of
five), the seconds from the process's start to its first token, and the peak memory of the process and what it started.
The bound is what the memory allows: the bytes of all multiplied weights are read for every token. Answers are kept from
ending by a bias on the end tokens, which both engines add to the scores, and all take the likeliest token.
"""

import argparse
import importlib
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from queue import Queue
from typing import Any

import psutil
import torch
from baseline import FORGETFUL, LIKELIEST
from conditions import conditions, options
from rich.console import Console
from rich.table import Table

from minikin.app.engines import gguf_file, opened
from minikin.base.device import prepare_to_answer
from minikin.base.memory import peak_bytes
from minikin.engine.asking import Ask, Ended, Engine, Token
from minikin.model.checkpoint import load, read_config
from minikin.ship.llamacpp import LlamaCpp
from minikin.ship.types import KINDS, stored_bytes, stored_type

_READ, _WRITTEN, RUNS = 512, 128, 5
_CONTEXT = _READ + _WRITTEN + 8
_BITS = ("q8_0", "q4_0")
_ENGINES = (
    *("torch", "transformers", "llama.cpp f16"),
    *(f"{name} {kind}" for name in ("llama.cpp", "streams", "alone") for kind in _BITS),
)
_BANDWIDTH = 1 << 28  # floats that are read to see how fast that is


def main() -> None:
    """All members with all engines."""
    given = _arguments().parse_args()
    if given.one:
        print(json.dumps(_measured(given.members[0], given.one, given)))
        return
    n = f"{RUNS} runs each, the fastest of which counts"
    print(conditions(threads=given.threads, n=n, seed=f"0 to {RUNS - 1}, the prompts of these"), flush=True)
    speed = bandwidth(given.threads)
    for member in given.members:
        table = Table(title=f"{member}: {given.threads} threads; memory is read at {speed / 1e9:.1f} GB/s")
        for heading in ("engine", "read, tokens/s", "write, tokens/s", "of the bound", "first token, s", "peak, MB"):
            table.add_column(heading, justify="left" if heading == "engine" else "right")
        for engine in _ENGINES:
            found = in_process(member, engine, given.threads)
            bound = speed / multiplied_bytes(member, engine)
            told = (f"{found['read']:,.0f}", f"{found['written']:,.0f}", f"{100 * found['written'] / bound:.1f} %")
            table.add_row(engine, *told, f"{found['first']:.2f}", f"{found['peak'] / 1e6:,.0f}")
        Console(width=110).print(table)


def _arguments() -> argparse.ArgumentParser:
    asked = options(__doc__)
    asked.add_argument("members", nargs="+", type=Path, help="folders, such as families/village/nano")
    asked.add_argument("--threads", type=int, default=2, help="that every engine computes with (2)")
    # what the processes of single engines are told
    asked.add_argument("--one", choices=_ENGINES, help=argparse.SUPPRESS)
    asked.add_argument("--since", type=float, help=argparse.SUPPRESS)
    asked.add_argument("--temperature", type=float, default=0.0, help=argparse.SUPPRESS)
    return asked


def in_process(member: Path, engine: str, threads: int, temperature: float = 0.0) -> dict[str, float]:
    """Tokens/s `read` and `written`, seconds to the `first` token, `peak` bytes; of a process of its own."""
    command = [sys.executable, __file__, str(member), "--one", engine, "--threads", str(threads)]
    command += ["--temperature", str(temperature)]
    run = subprocess.run([*command, "--since", str(time.time())], capture_output=True, text=True, check=False)
    if run.returncode:
        raise SystemExit(f"{engine}: {run.stderr.strip().splitlines()[-1]}")
    return json.loads(run.stdout.splitlines()[-1])


def _measured(member: Path, name: str, given: argparse.Namespace) -> dict[str, float]:
    prepare_to_answer(given.threads)
    kind, _, bits = name.partition(" ")
    if kind == "alone":
        return _alone(member, bits, given.threads, given.since)
    if kind == "streams":
        with LlamaCpp(gguf_file(member, bits), threads=given.threads, context=_CONTEXT) as server:
            return _timed(member, given.since, lambda *asked: seconds_streamed(server, *asked))
    if kind == "transformers":
        return _in_transformers(member, given.since)
    engine = opened(member, kind, bits or "q8_0", slots=1, queue=1)
    ends = dict.fromkeys(read_config(member).eos_token_ids, -100.0)
    try:
        more = {"logit_bias": ends, "temperature": given.temperature}
        return _timed(member, given.since, lambda *asked: seconds_of(engine, *asked, more))
    finally:
        engine.close()


def _timed(member: Path, since: float, seconds: Callable[[tuple[int, ...], int], float]) -> dict[str, float]:
    """Of an engine that takes so many seconds for a prompt and a number of tokens."""
    seconds(prompt_of(member, 16), 1)
    first = time.time() - since
    reading = min(seconds(prompt_of(member, _READ, run), 1) for run in range(RUNS))
    short = min(seconds(prompt_of(member, 16, run), 1) for run in range(RUNS))
    writing = min(seconds(prompt_of(member, 16, run), _WRITTEN) for run in range(RUNS)) - short
    return {"read": _READ / reading, "written": (_WRITTEN - 1) / writing, "first": first, "peak": _peak()}


def seconds_of(engine: Engine, prompt: tuple[int, ...], count: int, more: dict[str, Any]) -> float:
    """Seconds that an engine takes for so many tokens after a prompt."""
    said, begun = Queue[Token | Ended](), time.perf_counter()
    engine.ask(Ask(prompt=prompt, max_tokens=count, **more), said.put)
    while isinstance(heard := said.get(), Token):
        pass
    assert (heard.reason, heard.tokens) == ("length", count), heard
    return time.perf_counter() - begun


def _alone(member: Path, kind: str, threads: int, since: float) -> dict[str, float]:
    with LlamaCpp(gguf_file(member, kind), threads=threads, context=_CONTEXT) as engine:
        more = {"ignore_eos": True, **LIKELIEST, **FORGETFUL}
        engine._complete(prompt_of(member, 16), 1, more)
        first = time.time() - since
        told = [engine._complete(prompt_of(member, _READ, run), 1, more)["timings"] for run in range(RUNS)]
        said = [engine._complete(prompt_of(member, 16, run), _WRITTEN, more)["timings"] for run in range(RUNS)]
    counted = {each["prompt_n"] for each in told}, {each["predicted_n"] for each in said}
    assert counted == ({_READ}, {_WRITTEN}), counted
    fastest = max(each["prompt_per_second"] for each in told), max(each["predicted_per_second"] for each in said)
    return {"read": fastest[0], "written": fastest[1], "first": first, "peak": _peak()}


def seconds_streamed(server: LlamaCpp, prompt: tuple[int, ...], count: int) -> float:
    """The same of llama.cpp's own server, whose bytes are read and no more."""
    more = {"stream": True, "ignore_eos": True, "return_tokens": True, **LIKELIEST, **FORGETFUL}
    begun = time.perf_counter()
    with server.asked("/completion", {"prompt": list(prompt), "n_predict": count, **more}) as reply:
        pieces = list(iter(reply.read1, b""))
    seconds = time.perf_counter() - begun
    last = json.loads(b"".join(pieces).rstrip().rpartition(b"data: ")[2])
    assert (last["stop"], last["tokens_predicted"]) == (True, count), last
    return seconds


def _in_transformers(member: Path, since: float) -> dict[str, float]:
    model = importlib.import_module("transformers").AutoModelForCausalLM.from_pretrained(member)

    def seconds(prompt: tuple[int, ...], count: int) -> float:
        begun = time.perf_counter()
        tokens = torch.tensor([prompt])
        model.generate(
            tokens, attention_mask=torch.ones_like(tokens), min_new_tokens=count, max_new_tokens=count, do_sample=False
        )
        return time.perf_counter() - begun

    return _timed(member, since, seconds)


def prompt_of(member: Path, length: int, seed: int = 0) -> tuple[int, ...]:
    """Tokens of a member's vocabulary, drawn."""
    drawn = torch.Generator().manual_seed(seed)
    return tuple(torch.randint(300, read_config(member).vocab_size, (length,), generator=drawn).tolist())


def _peak() -> float:
    """Of this process, and what those that it started hold now."""
    return peak_bytes() + sum(child.memory_info().rss for child in psutil.Process().children())


def bandwidth(threads: int) -> float:
    """Bytes a second that a sum over a large tensor reads."""
    torch.set_num_threads(threads)
    large = torch.ones(_BANDWIDTH)
    times = []
    for _ in range(RUNS):
        begun = time.perf_counter()
        large.sum()
        times.append(time.perf_counter() - begun)
    return 4 * _BANDWIDTH / min(times)


def multiplied_bytes(member: Path, engine: str) -> int:
    """What is read for every token: all but the tables, as wide as the engine holds them."""
    kind = engine.rpartition(" ")[2]
    found = 0
    for name, tensor in load(member).state_dict().items():
        if "embed_tokens_per_layer" not in name:
            type_ = stored_type(name, tensor.shape, kind) if kind in KINDS else None
            found += stored_bytes(tensor.shape, type_) if type_ else tensor.numel() * tensor.element_size()
    return found


if __name__ == "__main__":
    main()
