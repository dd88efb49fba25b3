"""Every weight of a member: its name in Transformers, its name in llama.cpp, and its shape."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from minikin.ship.shape import Shape

ROPE_FREQUENCIES = "rope_freqs.weight"
_TURNED = ("self_attn.q_proj.weight", "self_attn.q_norm.weight", "self_attn.k_proj.weight", "self_attn.k_norm.weight")


@dataclass(frozen=True, kw_only=True)
class Weight:
    """One tensor; `shape` is [rows, columns] or [length], as in Transformers; `order` of rows, if another."""

    source: str
    target: str
    shape: tuple[int, ...]
    order: tuple[int, ...] = ()


def weights_of(shape: Shape) -> Iterator[Weight]:
    """All weights that a member of this shape has, in the order of the file."""
    for source, (target, size) in _once(shape).items():
        yield Weight(source=f"model.{source}", target=target, shape=size)
    for layer in range(shape.layers):
        for source, (target, size) in _layer(shape, layer).items():
            order = _order(shape, layer, size[0]) if source in _TURNED else ()
            name = f"model.layers.{layer}.{source}"
            yield Weight(source=name, target=f"blk.{layer}.{target}", shape=size, order=order)


_Table = Mapping[str, tuple[str, tuple[int, ...]]]


def _once(shape: Shape) -> _Table:
    hidden, tables = shape.hidden_size, shape.layers * shape.table_size
    table: _Table = {
        "embed_tokens.weight": ("token_embd.weight", (shape.vocab_size, hidden)),
        "norm.weight": ("output_norm.weight", (hidden,)),
    }
    if not shape.table_size:
        return table
    return {
        **table,
        "embed_tokens_per_layer.weight": ("per_layer_token_embd.weight", (shape.vocab_size, tables)),
        "per_layer_model_projection.weight": ("per_layer_model_proj.weight", (tables, hidden)),
        "per_layer_projection_norm.weight": ("per_layer_proj_norm.weight", (shape.table_size,)),
    }


def _layer(shape: Shape, layer: int) -> _Table:
    hidden, wide, head = shape.hidden_size, shape.intermediate_sizes[layer], shape.head_dim(layer)
    queries = shape.num_attention_heads * head
    return {
        "input_layernorm.weight": ("attn_norm.weight", (hidden,)),
        "self_attn.q_proj.weight": ("attn_q.weight", (queries, hidden)),
        "self_attn.q_norm.weight": ("attn_q_norm.weight", (head,)),
        **(_keys_and_values(shape, head) if layer < shape.first_shared else {}),
        "self_attn.o_proj.weight": ("attn_output.weight", (hidden, queries)),
        "post_attention_layernorm.weight": ("post_attention_norm.weight", (hidden,)),
        "pre_feedforward_layernorm.weight": ("ffn_norm.weight", (hidden,)),
        "mlp.gate_proj.weight": ("ffn_gate.weight", (wide, hidden)),
        "mlp.up_proj.weight": ("ffn_up.weight", (wide, hidden)),
        "mlp.down_proj.weight": ("ffn_down.weight", (hidden, wide)),
        "post_feedforward_layernorm.weight": ("post_ffw_norm.weight", (hidden,)),
        **(_table_gate(shape) if shape.table_size else {}),
        "layer_scalar": ("layer_output_scale.weight", (1,)),
    }


def _keys_and_values(shape: Shape, head: int) -> _Table:
    keys = shape.num_key_value_heads * head
    return {
        "self_attn.k_proj.weight": ("attn_k.weight", (keys, shape.hidden_size)),
        "self_attn.k_norm.weight": ("attn_k_norm.weight", (head,)),
        "self_attn.v_proj.weight": ("attn_v.weight", (keys, shape.hidden_size)),
    }


def _table_gate(shape: Shape) -> _Table:
    hidden, table = shape.hidden_size, shape.table_size
    return {
        "per_layer_input_gate.weight": ("inp_gate.weight", (table, hidden)),
        "per_layer_projection.weight": ("proj.weight", (hidden, table)),
        "post_per_layer_input_norm.weight": ("post_norm.weight", (hidden,)),
    }


def _order(shape: Shape, layer: int, rows: int) -> tuple[int, ...]:
    """Rows of all heads, the channels that turn first in each; empty where all turn or the layer is full."""
    head, pairs = shape.head_dim(layer), shape.sliding_turning // 2
    if not shape.sliding[layer] or 2 * pairs == head:
        return ()
    turned = [*range(pairs), *range(head // 2, head // 2 + pairs)]
    channels = [*turned, *(channel for channel in range(head) if channel not in turned)]
    return tuple(start + channel for start in range(0, rows, head) for channel in channels)
