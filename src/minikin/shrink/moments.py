"""What goes into every product of a decoder, as second moments: the mean of x xᵀ over the tokens of samples.

Padding is none of them.
"""

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor, nn

from minikin.model.decoder import Decoder
from minikin.model.linear import Linear
from minikin.text.batches import Batch

HEAD = "embed_tokens"


@torch.no_grad()
def second_moments(decoder: Decoder, batches: Iterable[Batch]) -> dict[str, Tensor]:
    """By the name of each linear module, and of the head, [inputs, inputs] in float32."""
    sums: dict[str, Tensor] = {}
    real, seen = list[Tensor](), 0  # where the batch that is read has tokens
    noted = {name: module for name, module in decoder.named_modules() if isinstance(module, Linear)}
    handles = [module.register_forward_pre_hook(_noting(sums, name, real)) for name, module in noted.items()]
    try:
        for rows in batches:
            batch = rows.to(decoder.device)
            real[:] = [batch.documents >= 0]
            hidden = decoder(batch.tokens, batch.positions, batch.documents)
            _add(sums, HEAD, hidden[real[0]])
            seen += int(real[0].sum())
    finally:
        for handle in handles:
            handle.remove()
    return {name: total / max(1, seen) for name, total in sums.items()}


def _noting(
    sums: dict[str, Tensor], name: str, real: Sequence[Tensor]
) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
    return lambda _, inputs: _add(sums, name, inputs[0][real[0]])


def _add(sums: dict[str, Tensor], name: str, x: Tensor) -> None:
    flat = x.float()
    sums[name] = sums.get(name, torch.zeros((), device=x.device)) + flat.T @ flat
