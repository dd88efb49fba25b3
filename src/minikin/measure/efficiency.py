"""What a member costs: counted from its shape, and measured in a process of its own.

`python -m minikin.measure.efficiency FOLDER THREADS` prints the measured part as one JSON line.
"""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

from minikin.base.device import prepare_to_answer
from minikin.base.errors import CheckpointError
from minikin.base.memory import peak_bytes
from minikin.measure.records import Efficiency
from minikin.model.cache import Cache
from minikin.model.checkpoint import load, read_config
from minikin.model.decoder import Decoder
from minikin.model.generate import last
from minikin.model.shards import weight_files
from minikin.model.slots import Slots
from minikin.model.step import Step

_PREFILL_TOKENS, _DECODE_TOKENS, _RUNS = 256, 64, 7


def efficiency(folder: Path, threads: int) -> Efficiency:
    """Count and measure a saved member; raises CheckpointError if its process fails."""
    config = read_config(folder)
    # -P: nothing of the current folder is imported
    command = [sys.executable, "-P", "-m", "minikin.measure.efficiency", str(folder), str(threads)]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    if run.returncode != 0:
        raise CheckpointError(f"{folder}: could not be measured: {(run.stderr.strip().splitlines() or ['?'])[-1]}")
    return Efficiency(
        parameters=config.parameters,
        multiplied=config.multiplied,
        looked_up=config.looked_up,
        flops_per_token=config.flops_per_token(),
        bytes={str(bits): config.bytes_at(bits) for bits in (16, 8, 4)},
        file_bytes=sum(file.stat().st_size for file in weight_files(folder)),
        kv_bytes_per_token=config.kv_bytes_per_token(),
        how=f"PyTorch on the CPU, {threads} threads, weights as stored and computed with in float32, one row, fastest "
        f"of {_RUNS} runs; {_PREFILL_TOKENS} tokens read (prefill), {_DECODE_TOKENS} written (decode); peak RAM of the "
        "whole process",
        **json.loads(run.stdout),
    )


def measured(folder: Path, threads: int) -> dict[str, float]:
    """Speed of reading and writing one row, and the peak memory of this process."""
    prepare_to_answer(threads)
    decoder = load(folder).eval()
    step = Step(decoder)
    tokens = torch.arange(_PREFILL_TOKENS)[None] % decoder.config.vocab_size
    return {
        "prefill_tokens_per_second": _rate(_PREFILL_TOKENS, lambda: _read(decoder, tokens)),
        "decode_tokens_per_second": _rate(_DECODE_TOKENS, lambda: _write(decoder, step)),
        "peak_rss_bytes": peak_bytes(),
    }


@torch.inference_mode()
def _read(decoder: Decoder, tokens: torch.Tensor) -> None:
    positions = torch.arange(tokens.shape[1])[None]
    decoder.logits(decoder(tokens, positions, torch.zeros_like(tokens), pick=last))


@torch.inference_mode()
def _write(decoder: Decoder, step: Step) -> None:
    """As the PyTorch engine writes one answer."""
    cache, slots = Cache.empty(decoder.config, 1, decoder.device), Slots(decoder.config, 1)
    token = torch.tensor([[decoder.config.bos_token_id]])
    hidden = decoder(token, torch.zeros_like(token), torch.zeros_like(token), cache, last)
    slots.take(cache)
    token = decoder.logits(hidden).argmax(-1)
    for _ in range(_DECODE_TOKENS - 1):
        token = step(token, slots).argmax(-1)


def _rate(tokens: int, work: Callable[[], None]) -> float:
    """Of the fastest run: whatever else the machine does can only make one slower."""
    work()
    seconds = []
    for _ in range(_RUNS):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    return round(tokens / min(seconds), 1)


if __name__ == "__main__":
    sys.stdout.write(json.dumps(measured(Path(sys.argv[1]), int(sys.argv[2]))) + "\n")
