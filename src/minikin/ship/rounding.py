"""Weights as a GGUF file stores them: as bytes, and as the numbers that are left of them.

So a member can be scored here as its file will answer there, but for the rounding of activations.
"""

import numpy as np
import torch
from gguf import quants
from torch import Tensor

from minikin.model.decoder import Decoder, empty
from minikin.model.huggingface import stored_name
from minikin.ship.types import Type, stored_bytes, stored_type


def encoded(rows: np.ndarray, type_: Type) -> np.ndarray:
    """The bytes of float32 rows in this type, [rows, columns] → uint8 [rows, bytes]."""
    return np.ascontiguousarray(quants.quantize(rows, type_)).view(np.uint8)


def as_in_file(decoder: Decoder, kind: str) -> tuple[Decoder, int]:
    """A decoder with the weights that are left of another's in a file of a kind, and how many bytes they take there."""
    other, size = empty(decoder.config), 0
    for (name, tensor), left in zip(decoder.state_dict().items(), other.state_dict().values(), strict=True):
        type_ = stored_type(stored_name(name), tensor.shape, kind)
        left.copy_(rounded(tensor, type_))
        size += stored_bytes(tensor.shape, type_)
    return other.eval(), size


def rounded(tensor: Tensor, type_: Type) -> Tensor:
    """The tensor that a reader of the file gets, in float32."""
    if type_ is Type.F32:
        return tensor.float()
    stored = quants.quantize(tensor.detach().float().numpy(), type_)
    return torch.from_numpy(np.ascontiguousarray(quants.dequantize(stored, type_))).view(tensor.shape)
