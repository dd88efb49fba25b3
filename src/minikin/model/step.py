"""One more token of several conversations: what all layers need is made once, and each layer is a `OneToken`."""

from typing import cast, final

import torch
from torch import Tensor

from minikin.model.config import SLIDING, Config
from minikin.model.decoder import Decoder, Layer
from minikin.model.layers import inverse_frequencies, rotation_at
from minikin.model.linear import scores, widened
from minikin.model.one_token import Norm, OneToken, Product, StepSight
from minikin.model.slots import Slots
from minikin.model.tables import Tables


@final
class Step:
    """A decoder on a processor, made ready to write, as its weights are now."""

    @torch.no_grad()
    def __init__(self, decoder: Decoder) -> None:
        config = decoder.config
        self._embeddings, self._capped = decoder.embed_tokens.weight, decoder.capped
        self._factor = config.hidden_size**0.5
        self._views = {kind: _View(config, kind) for kind in dict.fromkeys(config.layer_types)}
        self._offers = None if decoder.tables is None else _Offers(decoder.tables, config)
        self._layers = [OneToken(cast(Layer, layer), config, index) for index, layer in enumerate(decoder.layers)]
        self._norm = Norm.of(decoder.norm)

    @torch.inference_mode()
    def __call__(self, tokens: Tensor, slots: Slots) -> Tensor:
        """Logits of what follows `tokens` [taken], one for every slot that is taken: [taken, vocab]."""
        assert len(tokens) == slots.taken, "a token for every slot that is taken"
        places = list(slots.lengths)
        slots.grow()
        x = widened(self._embeddings.index_select(0, tokens)) * self._factor
        offered = (None,) * len(self._layers) if self._offers is None else self._offers(tokens, x)
        at, written = torch.tensor(places), _written(places, slots)
        sights = {kind: view(places, at, written, slots) for kind, view in self._views.items()}
        for layer, rows in zip(self._layers, offered, strict=True):
            x = layer(x, rows, sights[layer.kind])
        return self._capped(scores(self._norm(x), self._embeddings))


def _written(places: list[int], slots: Slots) -> Tensor:
    """Where new keys and values go, slot by slot, in what is stored of a layer: [slots · 2 · groups]."""
    half, groups, room = slots.count * slots.groups, range(slots.groups), slots.room
    begins = ((part * half + slot * slots.groups, place) for slot, place in enumerate(places) for part in (0, 1))
    return torch.tensor([(begin + group) * room + place for begin, place in begins for group in groups])


@final
class _View:
    """What the layers of one type see with, token by token."""

    def __init__(self, config: Config, kind: str) -> None:
        self._kind, self._frequencies = kind, inverse_frequencies(config, kind)
        self._window = config.sliding_window if kind == SLIDING else config.max_position_embeddings
        groups = config.num_key_value_heads
        self._turning = torch.tensor([0] * (config.num_attention_heads + groups) + [1] * groups)
        self._rotations = _rotations(0, self._frequencies)

    def __call__(self, places: list[int], at: Tensor, written: Tensor, slots: Slots) -> StepSight:
        if slots.room > len(self._rotations):
            self._rotations = _rotations(slots.room, self._frequencies)
        cosine, sine = self._rotations.index_select(0, at).index_select(2, self._turning).unbind(1)
        begin, end = max(0, min(slots.lengths) - self._window), max(slots.lengths)
        seen = slots.stored[self._kind].narrow(2, 0, len(places) * slots.groups).narrow(3, begin, end - begin)
        keys, values = seen.unbind(1)
        return StepSight(
            cosine=cosine,
            sine=sine,
            rows=slots.rows[self._kind],
            places=written,
            keys=keys.transpose(2, 3).unbind(),
            values=values.unbind(),
            mask=self._mask(places, begin, end, slots.groups),
        )

    def _mask(self, places: list[int], begin: int, end: int, groups: int) -> Tensor | None:
        if min(places) + 1 == end:  # so all are as long, and nobody sees what others do not
            return None
        seen, at = torch.arange(begin, end), torch.tensor(places).repeat_interleave(groups)[:, None, None]
        return torch.where((seen > at) | (seen <= at - self._window), float("-inf"), 0.0)


def _rotations(count: int, frequencies: Tensor) -> Tensor:
    """Cosine and sine at the first positions, of what is turned and of what is not: [count, 2, 2, head_dim]."""
    turned = rotation_at(torch.arange(count), frequencies)
    cosines = torch.cat((turned.cosine, torch.ones_like(turned.cosine)), 1)
    sines = torch.cat((turned.sine, torch.zeros_like(turned.sine)), 1)
    return torch.stack((cosines, sines), 1)


@final
class _Offers:
    """What the tables offer every layer, for one token a slot: the numbers of `Tables`."""

    def __init__(self, tables: Tables, config: Config) -> None:
        norm = tables.per_layer_projection_norm
        self._tables, self._shape = tables, (-1, tables.layers, tables.width)
        self._product, self._factor = Product(tables.per_layer_model_projection.weight), (tables.width / 2) ** 0.5
        self._norm = Norm(widened(norm.weight) * 2**-0.5, norm.eps * config.hidden_size)

    def __call__(self, tokens: Tensor, embedded: Tensor) -> tuple[Tensor, ...]:
        """A tensor [slots, table] a layer, from tokens [slots] and their embeddings [slots, hidden]."""
        rows, projected = self._tables.rows(tokens).view(self._shape), self._product(embedded).view(self._shape)
        return torch.add(self._norm(projected), rows, alpha=self._factor).unbind(1)
