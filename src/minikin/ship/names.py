"""Every weight of a member under its two names, Transformers' and llama.cpp's."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from gguf import MODEL_ARCH, get_tensor_name_map
from torch import Tensor

from minikin.model.config import FULL, Config
from minikin.model.decoder import Decoder
from minikin.model.huggingface import stored_name
from minikin.ship.shape import has_stand_in, turning

ROPE_FREQUENCIES = "rope_freqs.weight"
_TURNED = tuple(f"model.layers.0.self_attn.{part}.weight" for part in ("q_proj", "q_norm", "k_proj", "k_norm"))


@dataclass(frozen=True, kw_only=True)
class Weight:
    """One tensor, [rows, columns] or [length], which may still be in its file.

    Where it lies on a grid, `scales` [rows, blocks] are those of the grid.
    """

    source: str
    target: str
    tensor: Tensor
    scales: Tensor | None

    @property
    def shape(self) -> tuple[int, ...]:
        """Its lengths."""
        return tuple(self.tensor.shape)

    def stretches(self, size: int) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
        """All rows in float32, whole ones with at most `size` numbers at a time, and their scales."""
        count = max(1, size // self.tensor[0].numel())
        for begin in range(0, len(self.tensor), count):
            here = slice(begin, begin + count)
            yield self.tensor[here].float().numpy(), None if self.scales is None else self.scales[here].numpy()


def weights_of(decoder: Decoder, scales: Mapping[str, Tensor]) -> list[Weight]:
    """All weights of a loaded member, in the order of the file, with the scales of those that have some."""
    config, found = decoder.config, []
    names = get_tensor_name_map(MODEL_ARCH.GEMMA4, config.num_hidden_layers)
    for name, tensor in decoder.state_dict().items():
        source = stored_name(name)
        target = names[source.removesuffix(".weight")] + ".weight"
        turned = has_stand_in(config) and source in _TURNED
        rows, scale = (
            _turning_first(of_rows, config) if turned and of_rows is not None else of_rows
            for of_rows in (tensor, scales.get(source))
        )
        assert rows is not None
        found.append(Weight(source=source, target=target, tensor=rows, scales=scale))
    return found


def _turning_first(tensor: Tensor, config: Config) -> Tensor:
    """Rows of all heads, the channels that turn first in each."""
    head, pairs = config.head_dim_of(FULL), turning(config) // 2
    half = head // 2
    order = [*range(pairs), *range(half, half + pairs), *range(pairs, half), *range(half + pairs, head)]
    return tensor.unflatten(0, (-1, head))[:, order].flatten(0, 1)
