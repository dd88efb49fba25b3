"""The scales of weights that lie on a grid, beside the weights themselves: `scales.safetensors`.

A member of 4 or 8 bits is a member as any other, whose weights happen to be whole multiples of a block's scale.
Whoever reads only the weights gets the right numbers; with the scales, a file of few bits can be written that says
exactly the same.
"""

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from minikin.base.errors import CheckpointError
from minikin.base.files import MANIFEST, verify_file
from minikin.model.huggingface import stored_name

SCALES = "scales.safetensors"


def write_scales(folder: Path, scales: Mapping[str, Tensor], kind: str) -> None:
    """Write the scales [rows, blocks] of weights, by the decoder's names, into the folder of a member of a kind."""
    found = {stored_name(name): scale.half().contiguous() for name, scale in scales.items()}
    save_file(found, folder / SCALES, metadata={"kind": kind})
    (folder / SCALES).chmod(0o644)  # the library writes for its owner alone


def read_scales(folder: Path, kind: str) -> dict[str, Tensor]:
    """The scales by Transformers' names, in float32; none if the folder's weights are on no grid of this kind.

    Raises CheckpointError if the file is damaged.
    """
    path = folder / SCALES
    if not path.is_file():
        return {}
    if (folder / MANIFEST).is_file():
        verify_file(folder, SCALES)
    try:
        with safe_open(path, framework="pt") as stored:
            if (stored.metadata() or {}).get("kind") != kind:
                return {}
            return {name: stored.get_tensor(name).to(torch.float32) for name in stored.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path}: is damaged ({error}); build the family again") from error
