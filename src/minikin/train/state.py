"""What a training needs to go on: weights, optimizer state, step and the curve so far.

Folders `step-00001234`, each whole or absent. The newest one that verifies is taken; a damaged one is reported.
Data order and every use of chance are functions of the step, so nothing of them is saved. On a CPU a training goes on
bit for bit; on a GPU, up to the order of sums.
"""

import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import final

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from minikin.base.errors import CheckpointError
from minikin.base.files import read_json, verify, whole_folder, write_json
from minikin.model.decoder import Decoder
from minikin.train.optimizer import Optimizers

_WEIGHTS, _OPTIMIZER, _STATE = "weights.safetensors", "optimizer.safetensors", "state.json"
_STEP = "step-"


@dataclass(frozen=True, kw_only=True)
class Point:
    """One reading of the curve; `tokens` trained on so far, losses in nats a token that counts."""

    step: int
    tokens: int
    seconds: float
    loss: float
    held_out: dict[str, float]


@dataclass(frozen=True, kw_only=True)
class Reached:
    """How far a training has come: steps done, seconds spent and the curve."""

    steps: int
    seconds: float
    curve: tuple[Point, ...]


@final
class States:
    """The saved states of one training, in one folder."""

    def __init__(self, folder: Path, report: Callable[[str], None]) -> None:
        self._folder, self._report = folder, report

    def save(self, decoder: Decoder, optimizers: Optimizers, reached: Reached) -> Path:
        """Write a state, then delete the ones before the previous."""
        final_folder = self._folder / f"{_STEP}{reached.steps:08d}"
        with whole_folder(final_folder) as fresh:
            save_file(on_cpu(decoder.state_dict()), fresh / _WEIGHTS)
            save_file(on_cpu(optimizers.tensors()), fresh / _OPTIMIZER)
            write_json(fresh / _STATE, {**_circumstances(decoder, optimizers), **asdict(reached)})
        for older in self._saved()[:-2]:
            shutil.rmtree(older, ignore_errors=True)
        return final_folder

    def newest(self) -> Path | None:
        """The state that was saved last."""
        return next(reversed(self._saved()), None)

    def steps(self) -> int:
        """Steps that the newest state has done; 0 if there is none."""
        newest = self.newest()
        return int(newest.name.removeprefix(_STEP)) if newest else 0

    def restore(self, decoder: Decoder, optimizers: Optimizers) -> Reached:
        """Take over the newest whole state, and delete damaged ones; a training that has none begins at step 0."""
        for folder in reversed(self._saved()):
            try:
                verify(folder)
            except CheckpointError as error:
                self._report(f"warning: {error}; going back to the state before")
                shutil.rmtree(folder, ignore_errors=True)  # or it would be taken for newer than what is saved next
                continue
            return self._taken_over(folder, decoder, optimizers)
        return Reached(steps=0, seconds=0.0, curve=())

    def _taken_over(self, folder: Path, decoder: Decoder, optimizers: Optimizers) -> Reached:
        stored = read_json(folder / _STATE)
        for name, now in _circumstances(decoder, optimizers).items():
            if stored.get(name, now) != now:
                self._report(
                    f"warning: {folder}: was saved with {name} {stored[name]}, now {now}; "
                    "the training goes on, but not bit for bit"
                )
        decoder.load_state_dict(load_file(folder / _WEIGHTS))
        optimizers.restore(load_file(folder / _OPTIMIZER))
        curve = tuple(Point(**point) for point in stored["curve"])
        return Reached(steps=stored["steps"], seconds=stored["seconds"], curve=curve)

    def _saved(self) -> list[Path]:
        return sorted(self._folder.glob(f"{_STEP}*"))


def on_cpu(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors as they can be written; those that are on the CPU are the same."""
    return {name: tensor.cpu() for name, tensor in tensors.items()}


def _circumstances(decoder: Decoder, optimizers: Optimizers) -> dict[str, str | int]:
    """What must be the same for a training to go on bit for bit."""
    return {
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "products": str(optimizers.dtype),
        "device": optimizers.device.type,
        "passes": "compiled" if decoder.compiled else "not compiled",
    }
