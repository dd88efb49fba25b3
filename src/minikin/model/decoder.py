"""The decoder: the Gemma 4 text architecture, assembled from its parts.

Reads bottom to top: `Decoder` embeds tokens, runs the layers and normalises; `Decoder.logits` is the tied head.
"""

from collections.abc import Callable
from typing import Protocol, final

import torch
from torch import Tensor, nn

from minikin.base.shapes import Documents, Hidden, Logits, Mask, PerLayerInput, Positions, Tokens
from minikin.model.blocks import Part, at_once, cut_rows, in_blocks, in_pieces
from minikin.model.cache import Cache, LayerCache
from minikin.model.config import FULL, SLIDING, Config
from minikin.model.layers import Attention, FeedForward, KeyValues, Sight, inverse_frequencies, rotation_at
from minikin.model.linear import Embedding, scores
from minikin.model.norm import RMSNorm
from minikin.model.tables import TableGate, Tables

INITIAL_STD = 0.02  # Gemma's initializer_range

Pick = Callable[[Tensor], Tensor]  # [batch, time, …] → the positions that are wanted, […, …]


Offered = tuple[PerLayerInput, ...] | None


def everywhere(x: Tensor) -> Tensor:
    """Picks every position."""
    return x


class Pass(Protocol):
    """All layers and the last normalisation over whole rows of one shape, in another way than layer by layer."""

    def takes(self, tokens: Tokens) -> bool: ...

    def __call__(
        self, x: Hidden, offered: Offered, positions: Positions, documents: Documents, pick: Pick
    ) -> Hidden: ...


@final
class Layer(nn.Module):
    """Attention, feed-forward and table gate, each added to the residual stream."""

    layer_scalar: Tensor

    def __init__(self, config: Config, layer: int, dropout: nn.Dropout) -> None:
        super().__init__()
        size, eps = config.hidden_size, config.rms_norm_eps
        self.input_layernorm = RMSNorm(size, eps)
        self.self_attn = Attention(config, layer)
        self.post_attention_layernorm = RMSNorm(size, eps)
        self.pre_feedforward_layernorm = RMSNorm(size, eps)
        self.mlp = FeedForward(config, layer)
        self.post_feedforward_layernorm = RMSNorm(size, eps)
        self.table = TableGate(config) if config.hidden_size_per_layer_input else None
        self.dropout = dropout
        self.register_buffer("layer_scalar", torch.ones(1))

    def forward(
        self,
        x: Hidden,
        offered: Tensor | None,
        sight: Sight,
        cache: LayerCache | None,
        told: dict[str, KeyValues],
        pick: Pick,
    ) -> Hidden:
        mixed = pick(self.self_attn(self.input_layernorm(x), sight, cache, told))
        x = self.post_attention_layernorm.added(pick(x), self.dropout(self.self_attn.o_proj(mixed)))
        x = self.post_feedforward_layernorm.added(x, self.dropout(self.mlp(self.pre_feedforward_layernorm(x))))
        if self.table is not None and offered is not None:
            x = self.table(x, pick(offered))
        return x * self.layer_scalar


@final
class Decoder(nn.Module):
    """Tokens to hidden states to logits.

    `dropout` is on what every attention, feed-forward and table gives, and on the embedding (Srivastava et al. 2014);
    its `p` is 0 until a training sets it. `compiled` takes the passes of a training, if it has been compiled.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.dropout = nn.Dropout(0.0)
        self.embed_tokens = Embedding(config.vocab_size, config.hidden_size)
        self.tables = Tables(config) if config.hidden_size_per_layer_input else None
        self.layers = nn.ModuleList(Layer(config, layer, self.dropout) for layer in range(config.num_hidden_layers))
        self.norm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.frequencies = {kind: inverse_frequencies(config, kind) for kind in (SLIDING, FULL)}
        self.compiled: Pass | None = None

    @property
    def device(self) -> torch.device:
        """Where the weights are, and whatever is computed with them."""
        return self.norm.weight.device  # a matrix may be held on a grid, and be put there whenever it is looked at

    def forward(
        self,
        tokens: Tokens,
        positions: Positions,
        documents: Documents,
        cache: Cache | None = None,
        pick: Pick = everywhere,
    ) -> Hidden:
        """Normalised hidden states where `pick` takes them; the last layer computes no others.

        A token sees earlier tokens of its own document, in `cache` and here.
        """
        x, offered = self.embedded(tokens)
        if self.compiled is not None and cache is None and self.compiled.takes(tokens):
            return self.compiled(x, offered, positions, documents, pick)
        return self.norm(self.through(x, offered, positions, documents, cache, pick)[-1])

    def states(
        self,
        tokens: Tokens,
        positions: Positions,
        documents: Documents,
        cache: Cache | None = None,
        pick: Pick = everywhere,
    ) -> list[Hidden]:
        """The residual stream before the first layer and after every layer, unnormalised; the last where picked."""
        x, offered = self.embedded(tokens)
        return [x, *self.through(x, offered, positions, documents, cache, pick)]

    def through(
        self,
        x: Hidden,
        offered: Offered,
        positions: Positions,
        documents: Documents,
        cache: Cache | None,
        pick: Pick,
    ) -> list[Hidden]:
        """The residual stream after every layer, given what it is before the first; the last where picked."""
        sights = {
            kind: Sight(rotation=rotation_at(positions, self.frequencies[kind]), parts=parts)
            for kind, parts in self._parts(positions, documents, cache).items()
        }
        states: list[Hidden] = []
        told: dict[str, KeyValues] = {}
        last = self.config.num_hidden_layers - 1
        for index, (kind, layer) in enumerate(zip(self.config.layer_types, self.layers, strict=True)):
            table = None if offered is None else offered[index]
            layer_cache = None if cache is None else cache.layers[index]
            wanted = pick if index == last else everywhere
            x = layer(x, table, sights[kind], layer_cache, told, wanted)
            states.append(x)
        return states

    def embedded(self, tokens: Tokens) -> tuple[Hidden, Offered]:
        """The stream's first state, and what the tables offer every layer."""
        x = self.embed_tokens(tokens).float() * self.config.hidden_size**0.5
        offered = None if self.tables is None else tuple(self.dropout(table) for table in self.tables(tokens, x))
        return self.dropout(x), offered

    def logits(self, hidden: Tensor) -> Logits:
        """Scores of every next token, [..., hidden] → [..., vocab]."""
        return self.capped(scores(hidden, self.embed_tokens.weight))

    def capped(self, logits: Logits) -> Logits:
        """Logits within the soft cap, if the model has one."""
        cap = self.config.final_logit_softcapping
        return logits if cap is None else cap * torch.tanh(logits / cap)

    def _parts(self, positions: Positions, documents: Documents, cache: Cache | None) -> dict[str, tuple[Part, ...]]:
        """For each type of layer, the rows and what they may look at."""
        if cache is not None:
            cache.extend(positions, documents)
            masks = self._masks(positions, documents, cache.positions, cache.documents)
            length = positions.shape[1]
            return {kind: (Part(rows=None, length=length, pieces=(at_once(mask),)),) for kind, mask in masks.items()}
        windows = {FULL: positions.shape[1], SLIDING: self.config.sliding_window}
        parts: dict[str, tuple[Part, ...]] = dict.fromkeys(self.config.layer_types, ())
        for rows, length in cut_rows(documents):
            places, owners = in_blocks(positions, rows, length), in_blocks(documents, rows, length)
            for kind, mask in self._masks(places, owners, places, owners).items():
                parts[kind] += (Part(rows=rows, length=length, pieces=in_pieces(mask, windows[kind])),)
        return parts

    def _masks(
        self, positions: Positions, documents: Documents, key_positions: Positions, key_documents: Documents
    ) -> dict[str, Mask]:
        distance = positions[:, :, None] - key_positions[:, None, :]
        visible = (documents[:, :, None] == key_documents[:, None, :]) & (distance >= 0)
        masks = {FULL: visible, SLIDING: visible & (distance < self.config.sliding_window)}
        # as numbers to add: attention would turn truth values into them again in every layer
        never = torch.tensor(float("-inf"), device=positions.device)
        kinds = dict.fromkeys(self.config.layer_types)
        return {kind: torch.where(masks[kind], 0.0, never)[:, None] for kind in kinds}


def initialized(config: Config, generator: torch.Generator) -> Decoder:
    """A decoder with random weights: normal with standard deviation 0.02, scales at one."""
    decoder = Decoder(config)
    with torch.no_grad():
        for parameter in decoder.parameters():
            if parameter.ndim > 1:
                parameter.normal_(0.0, INITIAL_STD, generator=generator)
    return decoder


def skeleton(config: Config) -> Decoder:
    """A decoder that has shapes and no weights yet."""
    with torch.device("meta"):
        return Decoder(config)


def empty(config: Config) -> Decoder:
    """A decoder whose weights are about to be overwritten: none is drawn, nothing is computed."""
    return skeleton(config).to_empty(device="cpu")
