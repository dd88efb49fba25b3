"""Weights as a GGUF file stores them: as bytes, and as the numbers that are left of them.

So a member can be scored here as its file will answer there, but for the rounding of activations.
"""

from importlib.metadata import version

import numpy as np
import torch
from gguf import quants
from torch import Tensor

from minikin.base.files import digest
from minikin.model.config import Config
from minikin.model.decoder import Decoder, empty, skeleton
from minikin.model.huggingface import stored_name
from minikin.ship.types import Type, stored_bytes, stored_type

_AT_ONCE = 1 << 22  # weights that are rounded together


def encoded(rows: np.ndarray, type_: Type) -> np.ndarray:
    """The bytes of float32 rows in this type, [rows, columns] → uint8 [rows, bytes]."""
    return np.ascontiguousarray(quants.quantize(rows, type_)).view(np.uint8)


def as_in_file(decoder: Decoder, kind: str) -> tuple[Decoder, int]:
    """A decoder with the weights that are left of another's in a file of a kind, and how many bytes they take there."""
    other, size = empty(decoder.config), 0
    for (name, tensor), left in zip(decoder.state_dict().items(), other.state_dict().values(), strict=True):
        type_ = stored_type(stored_name(name), tensor.shape, kind)
        rows = max(1, _AT_ONCE // max(1, tensor[0].numel()))
        for part, left_part in zip(tensor.split(rows), left.split(rows), strict=True):
            left_part.copy_(rounded(part, type_))
        size += stored_bytes(tensor.shape, type_)
    return other.eval(), size


def rounding_key(config: Config, kind: str) -> str:
    """What rounding a member of a shape depends on: the type of every weight, and the library's version."""
    types = [
        stored_type(stored_name(name), held.shape, kind).name for name, held in skeleton(config).state_dict().items()
    ]
    return digest(kind, version("gguf"), *types)


def rounded(tensor: Tensor, type_: Type) -> Tensor:
    """The tensor that a reader of the file gets, in float32."""
    if type_ is Type.F32:
        return tensor.float()
    stored = quants.quantize(tensor.detach().float().numpy(), type_)
    return torch.from_numpy(np.ascontiguousarray(quants.dequantize(stored, type_))).view(tensor.shape)
