"""The shape of a decoder and its arithmetic: parameters, operations and bytes.

Weights are counted in two kinds. *Multiplied* weights take part in a matrix product for every token and
cost compute and memory traffic; *looked-up* weights are rows of the per-layer token tables, of which a
token reads one, and cost only storage. The tied embedding counts as multiplied: it is the output head.
Fields bear the names of Transformers' `Gemma4TextConfig`.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from minikin.base.errors import CheckpointError

_POSITIVE = ("vocab_size", "hidden_size", "intermediate_size", "sliding_window", "max_position_embeddings")
SLIDING, FULL = "sliding_attention", "full_attention"


@dataclass(frozen=True, kw_only=True)
class Config:
    """Shape of a Gemma 4 text decoder.

    `layer_types` has one entry a layer and ends with full attention. Heads are `global_head_dim` wide in full layers,
    `head_dim` in all others. The last `num_kv_shared_layers` have no keys and values of their own: they see those of
    the last layer of their type that has; `use_double_wide_mlp` doubles their feed-forward. The tables have
    `vocab_size_per_layer_input` rows. Sizes that may be None are then the plain ones.
    """

    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    hidden_size_per_layer_input: int
    layer_types: tuple[str, ...]
    global_head_dim: int | None = None
    num_kv_shared_layers: int = 0
    use_double_wide_mlp: bool = False
    vocab_size_per_layer_input: int | None = None
    sliding_window: int = 512
    max_position_embeddings: int = 2048
    rms_norm_eps: float = 1e-6
    sliding_rope_theta: float = 10_000.0
    full_rope_theta: float = 1_000_000.0
    partial_rotary_factor: float = 0.25
    final_logit_softcapping: float | None = None
    bos_token_id: int = 2
    eos_token_ids: tuple[int, ...] = (1, 5)
    pad_token_id: int = 0

    def __post_init__(self) -> None:
        for complaint in _complaints(self):
            raise CheckpointError(f"model shape: {complaint}")

    def head_dim_of(self, layer_type: str) -> int:
        """Width of a head in layers of a type."""
        return self.global_head_dim or self.head_dim if layer_type == FULL else self.head_dim

    def shares_kv(self, layer: int) -> bool:
        """Whether a layer sees another one's keys and values."""
        return layer >= self.num_hidden_layers - self.num_kv_shared_layers

    def intermediate_size_of(self, layer: int) -> int:
        """Width of a layer's feed-forward."""
        return self.intermediate_size * (2 if self.use_double_wide_mlp and self.shares_kv(layer) else 1)

    @property
    def table_rows(self) -> int:
        """Tokens that the per-layer tables have a row for."""
        return self.vocab_size_per_layer_input or self.vocab_size

    @property
    def multiplied(self) -> int:
        """Weights that take part in a product for every token."""
        return self.vocab_size * self.hidden_size + sum(map(self._block_weights, range(self.num_hidden_layers)))

    @property
    def looked_up(self) -> int:
        """Weights of the per-layer token tables."""
        return self.table_rows * self.num_hidden_layers * self.hidden_size_per_layer_input

    def weights_by_row(self) -> Counter[int]:
        """How many weights lie in rows of each length: a matrix's rows are as long as what goes into the product."""
        rows: Counter[int] = Counter()
        table = self.hidden_size_per_layer_input
        rows[self.num_hidden_layers * table] += self.looked_up
        for layer, kind in enumerate(self.layer_types):
            rows[self.num_attention_heads * self.head_dim_of(kind)] += self._query_weights(layer)
            rows[self.intermediate_size_of(layer)] += self.hidden_size * self.intermediate_size_of(layer)
            rows[table] += self.hidden_size * table
        rows[self.hidden_size] += self.multiplied + self.looked_up - rows.total()
        return +rows

    @property
    def norms(self) -> int:
        """Scales of the normalisations and the scalar a layer."""
        table_norms = self.hidden_size if self.hidden_size_per_layer_input else 0
        layers = sum(
            4 * self.hidden_size + table_norms + 1 + self.head_dim_of(kind) * (1 if self.shares_kv(layer) else 2)
            for layer, kind in enumerate(self.layer_types)
        )
        return layers + self.hidden_size + self.hidden_size_per_layer_input

    @property
    def parameters(self) -> int:
        """All weights of a saved member."""
        return self.multiplied + self.looked_up + self.norms

    def bytes_at(self, bits: int) -> int:
        """Bytes of all weights at 16, 8 or 4 bits; 8 and 4 with one 16-bit scale in 32 weights."""
        scale_bits = 0 if bits >= 16 else 16 / 32
        return round(self.parameters * (bits + scale_bits) / 8)

    def flops_per_token(self) -> int:
        """Floating-point operations to decode one token: two for each multiplied weight.

        Left out is attention over what came before: four for each query channel, layer and visible token.
        """
        return 2 * self.multiplied

    def training_flops_per_token(self) -> int:
        """Forward and backward: three times the forward pass."""
        return 3 * self.flops_per_token()

    def kv_bytes_per_token(self) -> int:
        """Bytes that one more token adds to a 16-bit cache while every window is still open."""
        own = self.layer_types[: self.num_hidden_layers - self.num_kv_shared_layers]
        return 2 * 2 * self.num_key_value_heads * sum(map(self.head_dim_of, own))

    def _query_weights(self, layer: int) -> int:
        """Weights that make a layer's queries, and as many its output."""
        return self.hidden_size * self.num_attention_heads * self.head_dim_of(self.layer_types[layer])

    def _block_weights(self, layer: int) -> int:
        """Multiplied weights of one layer, its share of the per-layer input projection included."""
        heads = 2 * self.num_attention_heads + (0 if self.shares_kv(layer) else 2 * self.num_key_value_heads)
        return self.hidden_size * (
            heads * self.head_dim_of(self.layer_types[layer])
            + 3 * self.intermediate_size_of(layer)
            + 3 * self.hidden_size_per_layer_input
        )


def alternating_layer_types(num_hidden_layers: int, sliding_per_full: int) -> tuple[str, ...]:
    """`sliding_per_full` sliding layers before each full one, the last layer always full."""
    kinds = [SLIDING if (index + 1) % (sliding_per_full + 1) else FULL for index in range(num_hidden_layers)]
    return (*kinds[:-1], FULL)


def _complaints(config: Config) -> list[str]:
    heads = {config.head_dim_of(kind) for kind in (SLIDING, FULL)}
    own = config.num_hidden_layers - config.num_kv_shared_layers
    rules: Mapping[str, Any] = {
        f"{len(config.layer_types)} layer_types for {config.num_hidden_layers} layers": (
            len(config.layer_types) == config.num_hidden_layers
        ),
        f"layer_types must be {SLIDING} or {FULL} and end with {FULL}": (
            set(config.layer_types) <= {SLIDING, FULL} and config.layer_types[-1:] == (FULL,)
        ),
        f"{config.num_attention_heads} query heads cannot be shared by {config.num_key_value_heads} key/value heads": (
            config.num_key_value_heads > 0 and config.num_attention_heads % config.num_key_value_heads == 0
        ),
        f"head_dim {min(heads)} must be a multiple of 8": all(head_dim % 8 == 0 for head_dim in heads),
        "sizes must be positive": min(getattr(config, name) for name in _POSITIVE) > 0 and config.table_rows > 0,
        "hidden_size_per_layer_input must not be negative": config.hidden_size_per_layer_input >= 0,
        f"{config.eos_token_ids} are no token ids": all(type(token) is int for token in config.eos_token_ids),
        f"{config.num_kv_shared_layers} layers share keys and values of layer_types that none before them has": (
            own >= 0 and set(config.layer_types[own:]) <= set(config.layer_types[:own])
        ),
    }
    return [text for text, holds in rules.items() if not holds]
