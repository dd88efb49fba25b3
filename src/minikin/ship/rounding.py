"""Weights as a GGUF file stores them: as bytes, and as the numbers that are left of them.

So a member can be scored here as its file will answer there, but for the rounding of activations.
"""

import numpy as np
import torch
from gguf import quants
from torch import Tensor

from minikin.ship.types import Type


def encoded(rows: np.ndarray, type_: Type) -> np.ndarray:
    """The bytes of float32 rows in this type, [rows, columns] → uint8 [rows, bytes]."""
    return np.ascontiguousarray(quants.quantize(rows, type_)).view(np.uint8)


def rounded(tensor: Tensor, type_: Type) -> Tensor:
    """The tensor that a reader of the file gets, in float32."""
    if type_ is Type.F32:
        return tensor.float()
    stored = quants.quantize(tensor.detach().float().numpy(), type_)
    return torch.from_numpy(np.ascontiguousarray(quants.dequantize(stored, type_))).view(tensor.shape)
