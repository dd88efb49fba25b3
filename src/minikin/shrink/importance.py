"""How much each part of a decoder matters, read off its activations on samples it was trained on.

Width by mean absolute activation, key/value groups by the norm of what their heads say, layers by how
little they leave unchanged (Muralidharan et al. 2024, "Minitron", §2.1–2.2). One pass, no gradients.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.hooks import RemovableHandle

from minikin.model.decoder import Decoder, Layer
from minikin.text.batches import Batch


@dataclass(frozen=True, kw_only=True)
class Importance:
    """Scores, larger is more important.

    `hidden` [hidden], `table` [table]: shared by all layers, as the residual stream and the tables' norm are.
    `intermediate` a tensor [intermediate] a layer, `groups` [layers, kv_heads]: each layer its own. `layers` [layers].
    """

    hidden: Tensor
    intermediate: tuple[Tensor, ...]
    groups: Tensor
    table: Tensor
    layers: Tensor


@torch.no_grad()
def importance(decoder: Decoder, batches: Iterable[Batch]) -> Importance:
    """Scores summed over all tokens of the batches; padding is none of them."""
    config = decoder.config
    layers, device = config.num_hidden_layers, decoder.device
    scores = Importance(
        hidden=torch.zeros(config.hidden_size, device=device),
        intermediate=tuple(torch.zeros(config.intermediate_size_of(layer), device=device) for layer in range(layers)),
        groups=torch.zeros(layers, config.num_key_value_heads, device=device),
        table=torch.zeros(config.hidden_size_per_layer_input, device=device),
        layers=torch.zeros(layers, device=device),
    )
    real = list[Tensor]()  # where the batch that is read has tokens
    handles = [handle for index, layer in enumerate(_layers(decoder)) for handle in _listen(layer, index, scores, real)]
    try:
        for rows in batches:
            batch = rows.to(device)
            real[:] = [batch.documents >= 0]
            states = decoder.states(batch.tokens, batch.positions, batch.documents)
            for index in range(layers):
                similarity = functional.cosine_similarity(states[index], states[index + 1], dim=-1)
                scores.layers[index] += (1 - similarity)[real[0]].sum()
    finally:
        for handle in handles:
            handle.remove()
    return scores


def _layers(decoder: Decoder) -> list[Layer]:
    return [layer for layer in decoder.layers if isinstance(layer, Layer)]


def _listen(layer: Layer, index: int, scores: Importance, real: Sequence[Tensor]) -> list[RemovableHandle]:
    def groups(spoken: Tensor) -> None:
        heads = spoken.reshape(-1, scores.groups.shape[1], spoken.shape[-1] // scores.groups.shape[1])
        scores.groups[index] += heads.norm(dim=-1).sum(0)

    def intermediate(activated: Tensor) -> None:
        scores.intermediate[index].add_(_magnitude(activated))

    def table(gated: Tensor) -> None:
        scores.table.add_(_magnitude(gated))

    def hidden(_: nn.Module, __: tuple[Tensor, ...], normalised: Tensor) -> None:
        scores.hidden.add_(_magnitude(normalised[real[0]]))

    def on_input(note: Callable[[Tensor], None]) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        return lambda _, inputs: note(inputs[0][real[0]])

    handles = [
        layer.self_attn.o_proj.register_forward_pre_hook(on_input(groups)),
        layer.mlp.down_proj.register_forward_pre_hook(on_input(intermediate)),
        layer.input_layernorm.register_forward_hook(hidden),
        layer.pre_feedforward_layernorm.register_forward_hook(hidden),
    ]
    if layer.table is not None:
        handles.append(layer.table.per_layer_projection.register_forward_pre_hook(on_input(table)))
    return handles


def _magnitude(activations: Tensor) -> Tensor:
    """[tokens, width] → [width]"""
    return activations.abs().sum(0)
