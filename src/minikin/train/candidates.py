"""Weights from along a training, of which the best are kept: the last few, their mean, and those of the lowest loss.

The mean of the last checkpoints is often better than each (Vaswani et al. 2017, §6.1; Izmailov et al. 2018), and on
small data the last is not always the best of them.
"""

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import final

from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn.utils.parametrize import cached

from minikin.base.files import read_json, verify, whole_folder, write_json
from minikin.model.decoder import Decoder
from minikin.train.state import on_cpu

_WEIGHTS, _ABOUT = "weights.safetensors", "candidate.json"


@dataclass(frozen=True, kw_only=True)
class Kept:
    """Which weights were kept: what they are called, and the score of every candidate by that name."""

    name: str
    scores: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class _Candidate:
    step: int
    loss: float


@final
class Candidates:
    """The candidates of one training, in one folder; `last` of them at least, besides the one of lowest loss."""

    def __init__(self, folder: Path, last: int) -> None:
        self._folder, self._last = folder, last

    def offer(self, decoder: Decoder, step: int, losses: Mapping[str, float]) -> None:
        """Note the weights after a step, with the mean of their held-out losses; forget those that are out of it."""
        if not self._last:
            return
        loss = sum(losses.values()) / max(1, len(losses))
        with whole_folder(self._place(step)) as fresh:
            save_file(on_cpu(decoder.state_dict()), fresh / _WEIGHTS)
            write_json(fresh / _ABOUT, asdict(_Candidate(step=step, loss=loss)))
        known = self._known()
        wanted = {each.step for each in (*known[-self._last :], _lowest(known))}
        for each in known:
            if each.step not in wanted:
                shutil.rmtree(self._place(each.step), ignore_errors=True)

    def keep_best(self, decoder: Decoder, score: Callable[[Decoder], float]) -> Kept | None:
        """Give the decoder the weights that score highest, the mean of the last first among equals; None of none."""
        if not self._known():
            return None
        scores = {}
        for name, steps in self._choices():
            self._give(decoder, steps)
            with cached():
                scores[name] = score(decoder)
        best = max(scores, key=scores.__getitem__)  # the first of equals
        self._give(decoder, dict(self._choices())[best])
        return Kept(name=best, scores=scores)

    def _choices(self) -> Iterator[tuple[str, list[int]]]:
        """Names, and the steps whose weights are averaged."""
        known = self._known()
        last = [each.step for each in known[-self._last :] if each.step]  # not what it began with
        if len(last) > 1:
            yield f"mean of steps {', '.join(map(str, last))}", last
        for step in reversed([each.step for each in known]):
            yield f"step {step}", [step]

    def _give(self, decoder: Decoder, steps: Sequence[int]) -> None:
        for step in steps:
            verify(self._place(step))
        decoder.load_state_dict(_mean([load_file(self._place(step) / _WEIGHTS) for step in steps]))

    def _known(self) -> list[_Candidate]:
        return [_Candidate(**read_json(folder / _ABOUT)) for folder in sorted(self._folder.glob("candidate-*"))]

    def _place(self, step: int) -> Path:
        return self._folder / f"candidate-{step:08d}"


def _lowest(candidates: Sequence[_Candidate]) -> _Candidate:
    return min(candidates, key=lambda each: each.loss)


def _mean(weights: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """The mean of each tensor, in its own type; of one, the tensor itself."""
    first, *others = weights
    if not others:
        return dict(first)
    return {
        name: sum((other[name].float() for other in others), tensor.float()).div(len(weights)).to(tensor.dtype)
        for name, tensor in first.items()
    }
