"""Adam for a table that is only looked up: a step costs what the touched rows cost, however many there are.

Each row lives in its own time. Its moments move, and its steps are counted for the bias correction, only when it is
touched; a table whose rows are touched in every step is trained as `torch.optim.AdamW` trains it. State is kept in
slots, handed out when a row is first touched, so memory follows the rows that occur and not the vocabulary.
"""

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, nn

_EPS = 1e-8  # as torch's AdamW
# weights moved at a time. On a processor what is made of them is to stay in its cache: 2,000 rows of 6,144 took 42 ms
# of one thread instead of 145; elsewhere every part costs the start of its kernels, and memory is the only limit
_IN_CACHE, _CHUNK = 1 << 18, 1 << 26


@dataclass(frozen=True, kw_only=True)
class RowGradient:
    """What a step asks of a table: rows [touched], ascending and each once, and slopes [touched, width] in float32."""

    rows: Tensor
    slopes: Tensor


def row_gradient(table: nn.Parameter) -> RowGradient:
    """The table's sparse gradient, with the gradients of a row that was looked up repeatedly summed."""
    if table.grad is None:
        nothing = torch.empty(0, table.shape[1], device=table.device)
        return RowGradient(rows=torch.empty(0, dtype=torch.long, device=table.device), slopes=nothing)
    # a bfloat16 table has a bfloat16 gradient: converted first, the sum is at least exact
    summed = table.grad.float().coalesce()
    return RowGradient(rows=summed.indices()[0], slopes=summed.values())


@final
class RowAdam:
    """Adam of one table [rows, width], without weight decay.

    Unless the table is float32, its touched rows are kept in float32 as well: small updates would be rounded away.
    """

    def __init__(self, table: nn.Parameter, betas: tuple[float, float]) -> None:
        self._table, self._betas = table, betas
        self._device = table.device
        # of each row, counted from 1; 0 has none yet
        self._slots = torch.zeros(len(table), dtype=torch.int32, device=self._device)
        self._taken = 0
        width = table.shape[1]
        wide = ("first", "second") if table.dtype == torch.float32 else ("first", "second", "exact")
        self._state = {name: torch.empty(0, dtype=torch.int32, device=self._device) for name in ("row", "steps")}
        self._state |= {name: torch.empty(0, width, device=self._device) for name in wide}

    @torch.no_grad()
    def step(self, gradient: RowGradient, learning_rate: float) -> None:
        """Move every touched row by its gradient; the others, and their state, stay as they are."""
        slots = self._slots_of(gradient.rows)
        size = max(1, (_IN_CACHE if self._device.type == "cpu" else _CHUNK) // self._table.shape[1])
        for part in zip(gradient.rows.split(size), slots.split(size), gradient.slopes.split(size), strict=True):
            self._move(*part, learning_rate)

    def tensors(self) -> dict[str, Tensor]:
        """The state of all rows that were ever touched, in the order in which they first were."""
        return {name: state[: self._taken] for name, state in self._state.items()}

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Take over state that `tensors` gave, in place of what is there."""
        self._state = {name: tensors[name] for name in self._state}
        self._taken = len(self._state["row"])
        self._slots.zero_()
        self._slots[self._state["row"].long()] = self._numbers(1, self._taken + 1)

    def _numbers(self, first: int, end: int) -> Tensor:
        return torch.arange(first, end, dtype=torch.int32, device=self._device)

    def _slots_of(self, rows: Tensor) -> Tensor:
        """Places in the state, [rows]; a row without one gets the next that is free."""
        fresh = rows[self._slots[rows] == 0]
        if len(fresh):
            taken = slice(self._taken, self._taken + len(fresh))
            self._grow(taken.stop)
            self._slots[fresh] = self._numbers(taken.start + 1, taken.stop + 1)
            for name, state in self._state.items():
                state[taken] = self._first_value(name, fresh)
            self._taken = taken.stop
        return self._slots[rows].long() - 1

    def _grow(self, needed: int) -> None:
        """Make room by doubling. What is not used yet is not written to, so the system need not provide it."""
        for name, state in self._state.items():
            if needed > len(state):
                room = min(max(needed, 2 * len(state)), len(self._table))
                self._state[name] = state.new_empty(room, *state.shape[1:])
                self._state[name][: self._taken] = state[: self._taken]

    def _first_value(self, name: str, rows: Tensor) -> Tensor:
        match name:
            case "row":
                return rows.int()
            case "exact":
                return self._table[rows].float()
            case _:
                return torch.zeros((), dtype=self._state[name].dtype, device=self._device)

    def _move(self, rows: Tensor, slots: Tensor, slopes: Tensor, learning_rate: float) -> None:
        """Kingma & Ba 2015, algorithm 1, with each row's own t.

        The moments are kept with their bias taken out: then they are means whose newest part weighs
        (1 − β) / (1 − βᵗ), and nothing has to be corrected afterwards.
        """
        (beta1, beta2), state = self._betas, self._state
        steps = state["steps"].index_select(0, slots).add_(1)
        time = steps.double()[:, None]
        newest1, newest2 = ((1 - beta) / (1 - beta**time) for beta in (beta1, beta2))
        first = state["first"].index_select(0, slots).lerp_(slopes, newest1.float())
        second = state["second"].index_select(0, slots).lerp_(slopes.square(), newest2.float())
        for name, moved in (("steps", steps), ("first", first), ("second", second)):
            state[name].index_copy_(0, slots, moved)
        kept, places = (state["exact"], slots) if "exact" in state else (self._table, rows)
        weights = kept.index_select(0, places).addcdiv_(first, second.sqrt_().add_(_EPS), value=-learning_rate)
        kept.index_copy_(0, places, weights)
        if kept is not self._table:
            self._table.index_copy_(0, rows, weights.to(self._table.dtype))
