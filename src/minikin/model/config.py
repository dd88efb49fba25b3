"""The shape of a decoder and its arithmetic: parameters, operations and bytes.

Weights are counted in two kinds. *Multiplied* weights take part in a matrix product for every token and
cost compute and memory traffic; *looked-up* weights are rows of the per-layer token tables, of which a
token reads one, and cost only storage. The tied embedding counts as multiplied: it is the output head.
Fields bear the names of Transformers' `Gemma4TextConfig`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from minikin.base.errors import CheckpointError

SLIDING, FULL = "sliding_attention", "full_attention"


@dataclass(frozen=True, kw_only=True)
class Config:
    """Shape of a Gemma 4 text decoder.

    `head_dim` is one for all layer types. `layer_types` has one entry a layer and ends with full attention.
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

    @property
    def multiplied(self) -> int:
        """Weights that take part in a product for every token."""
        return self.vocab_size * self.hidden_size + self.num_hidden_layers * self.block_weights

    @property
    def block_weights(self) -> int:
        """Multiplied weights of one layer, its share of the per-layer input projection included."""
        heads = 2 * self.num_attention_heads + 2 * self.num_key_value_heads
        return self.hidden_size * (
            heads * self.head_dim + 3 * self.intermediate_size + 3 * self.hidden_size_per_layer_input
        )

    @property
    def looked_up(self) -> int:
        """Weights of the per-layer token tables."""
        return self.vocab_size * self.num_hidden_layers * self.hidden_size_per_layer_input

    @property
    def norms(self) -> int:
        """Scales of the normalisations and the scalar a layer."""
        table_norms = self.hidden_size if self.hidden_size_per_layer_input else 0
        layer = 4 * self.hidden_size + 2 * self.head_dim + table_norms + 1
        return self.num_hidden_layers * layer + self.hidden_size + self.hidden_size_per_layer_input

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
        return 2 * 2 * self.num_hidden_layers * self.num_key_value_heads * self.head_dim


def alternating_layer_types(num_hidden_layers: int, sliding_per_full: int) -> tuple[str, ...]:
    """`sliding_per_full` sliding layers before each full one, the last layer always full."""
    kinds = [SLIDING if (index + 1) % (sliding_per_full + 1) else FULL for index in range(num_hidden_layers)]
    return (*kinds[:-1], FULL)


def _complaints(config: Config) -> list[str]:
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
        f"head_dim {config.head_dim} must be a multiple of 8": config.head_dim % 8 == 0,
        "sizes must be positive": min(config.vocab_size, config.hidden_size, config.intermediate_size) > 0,
    }
    return [text for text, holds in rules.items() if not holds]
