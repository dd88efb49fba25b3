"""The one training loop: every objective, stoppable at any step, resumable, on a CPU bit for bit."""

import math
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

import torch
from torch.nn.utils.parametrize import cached

from minikin.base.errors import Interrupted, TrainingError
from minikin.base.seeds import seed_for
from minikin.model.decoder import Decoder
from minikin.text.batches import Batch
from minikin.train.objective import Objective
from minikin.train.optimizer import Optimizers
from minikin.train.state import Point, Reached, States


@dataclass(frozen=True, kw_only=True)
class Run:
    """One training: what to fit on what, for how long, and how often to look and to save.

    `batch_at` gives the batch of a step; `held_out` the loss of each task on unseen documents, and `offer` hears of
    every look. Matrix products are made in `dtype`; weights, sums and whatever is looked at stay in float32. Dropout
    draws from `seed` and the step.
    """

    title: str
    steps: int
    batch_at: Callable[[int], Batch]
    batch_tokens: int
    held_out: Callable[[Decoder], dict[str, float]]
    offer: Callable[[Decoder, Point], None]
    look_every: int
    save_seconds: float
    dtype: torch.dtype
    seed: int


@dataclass(kw_only=True)
class StopRequest:
    """Whether a signal has asked to stop."""

    signal_number: int = field(default=0)


Watch = Callable[[int, float, float], None]  # step, loss, tokens a second


def fit(
    decoder: Decoder, objective: Objective, optimizers: Optimizers, run: Run, states: States, watch: Watch
) -> Reached:
    """Train from the newest saved state to the last step; returns the whole curve.

    Raises TrainingError at a loss or gradient that is not finite, before it reaches the weights, and
    Interrupted after a signal, once the state is saved.
    """
    reached = states.restore(decoder, optimizers)
    first, before = reached.steps, reached.seconds
    started = saved_at = time.monotonic()
    decoder.train()
    with signals_noted() as stop:
        for step in range(first, run.steps):
            loss = _step(decoder, objective, optimizers, run, step, states)
            elapsed = time.monotonic() - started
            watch(step + 1, loss, (step + 1 - first) * run.batch_tokens / elapsed)
            curve = reached.curve
            if (step + 1) % run.look_every == 0 or step + 1 == run.steps:
                curve = (*curve, _look(decoder, run, step + 1, before + elapsed, loss))
            reached = Reached(steps=step + 1, seconds=before + elapsed, curve=curve)
            due = time.monotonic() - saved_at > run.save_seconds
            if due or stop.signal_number or step + 1 == run.steps:
                where = states.save(decoder, optimizers, reached)
                saved_at = time.monotonic()
            if stop.signal_number:
                raise Interrupted(_stopped(run, step, where), stop.signal_number)
    return reached


def _stopped(run: Run, step: int, where: Path) -> str:
    return (
        f"{run.title}: stopped after step {step + 1} of {run.steps}; saved in {where}; "
        "run the same command again to go on"
    )


def _step(decoder: Decoder, objective: Objective, optimizers: Optimizers, run: Run, step: int, states: States) -> float:
    batch, device = run.batch_at(step).to(decoder.device), decoder.device.type
    torch.manual_seed(seed_for(run.seed, "dropout", run.title, step))
    # weights that are held on grids are put there once a step
    with torch.autocast(device, torch.bfloat16, enabled=run.dtype == torch.bfloat16), cached():
        parts = objective.losses(decoder, batch)
    loss = torch.stack(list(parts.values())).sum()
    value = loss.item()
    if math.isfinite(value):
        loss.backward()
        norm = optimizers.step(step)
        if math.isfinite(norm):
            return value
        found = f"the gradient's norm is {norm}"
    else:
        found = "the loss is " + ", ".join(f"{name} {part.item():g}" for name, part in parts.items())
    raise TrainingError(
        f"{run.title}: at step {step + 1} {found}; the weights were not changed by it. The last good checkpoint "
        f"is {states.newest() or 'none yet'}; lower learning_rate in the recipe and build again, which begins anew"
    )


def _look(decoder: Decoder, run: Run, step: int, seconds: float, loss: float) -> Point:
    decoder.eval()
    with cached():
        held_out = run.held_out(decoder)
    point = Point(step=step, tokens=step * run.batch_tokens, seconds=seconds, loss=loss, held_out=held_out)
    run.offer(decoder, point)
    decoder.train()
    return point


@contextmanager
def signals_noted() -> Iterator[StopRequest]:
    """Note SIGTERM and SIGINT instead of dying of them; a second one ends the process at once."""
    request = StopRequest()

    def note(number: int, frame: FrameType | None) -> None:
        if request.signal_number:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        request.signal_number = number

    earlier = {number: signal.signal(number, note) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield request
    finally:
        for number, action in earlier.items():
            signal.signal(number, action)
