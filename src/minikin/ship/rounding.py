"""Weights as a GGUF file stores them, as bytes."""

from collections.abc import Callable

import numpy as np
from gguf import quants

from minikin.ship.types import Type


def encoded(rows: np.ndarray, type_: Type, scales: np.ndarray | None = None) -> np.ndarray:
    """The bytes of float32 rows in this type, [rows, columns] → uint8 [rows, bytes].

    With `scales` [rows, blocks] the rows are whole multiples of them, and nothing is rounded.
    """
    if scales is None or type_ not in _PACKED:
        return np.ascontiguousarray(quants.quantize(rows, type_)).view(np.uint8)
    blocks = rows.reshape(*scales.shape, -1)
    numbers = np.rint(blocks / np.where(scales == 0, 1, scales)[..., None]).astype(np.int8)
    stored = scales.astype(np.float16)[..., None].view(np.uint8)
    return np.concatenate((stored, _PACKED[type_](numbers)), axis=-1).reshape(len(rows), -1)


def _whole(numbers: np.ndarray) -> np.ndarray:
    """A byte each."""
    return numbers.view(np.uint8)


def _halves(numbers: np.ndarray) -> np.ndarray:
    """Four bits each, counted from −8: the first half of a block low in its bytes, the second high."""
    counted = (numbers + 8).view(np.uint8)
    half = counted.shape[-1] // 2
    return counted[..., :half] | counted[..., half:] << 4


_PACKED: dict[Type, Callable[[np.ndarray], np.ndarray]] = {Type.Q8_0: _whole, Type.Q4_0: _halves}
