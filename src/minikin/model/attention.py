"""What attention computes: softmax(q kᵀ + mask) v, query heads sharing key/value heads in order.

Vaswani et al. 2017, eq. 1, without its √; Ainslie et al. 2023, "GQA".
"""

import torch
from torch.nn import functional

from minikin.base.shapes import Keys, Mask, Queries, Values

_SHORT = 512  # keys


def attended(query: Queries, key: Keys, value: Values, mask: Mask) -> Queries:
    """What each query head gathers from the values that its mask lets it see."""
    if query.device.type != "cpu":
        return _fused_alone(query, key, value, mask)
    if not torch.is_grad_enabled() or key.shape[2] > _SHORT:
        shared = query.shape[1] > key.shape[1]
        return functional.scaled_dot_product_attention(query, key, value, mask, scale=1.0, enable_gqa=shared)
    return _plain(query, key, value, mask)


def _fused_alone(query: Queries, key: Keys, value: Values, mask: Mask) -> Queries:
    """By the fused kernel that takes a mask: of CUDA's, it is the one that knows no shared heads."""
    each = query.shape[1] // key.shape[1]
    if each > 1:
        key, value = key.repeat_interleave(each, 1), value.repeat_interleave(each, 1)
    return functional.scaled_dot_product_attention(query, key, value, mask.to(query.dtype), scale=1.0)


def _plain(query: Queries, key: Keys, value: Values, mask: Mask) -> Queries:
    """By products: over short rows the processor's fused kernel takes a third longer backwards.

    In bfloat16, a whole step of the village's full model took a third longer with it.
    """
    batch, heads, time, head_dim = query.shape
    groups, keys = key.shape[1:3]
    scores = query.reshape(batch, groups, -1, head_dim) @ key.mT
    # a softmax sums in float32 whatever it is given, so scores may stay as the product made them
    shares = torch.softmax(scores.view(batch, heads, time, keys) + mask.to(scores.dtype), -1)
    return (shares.view(batch, groups, -1, keys) @ value).view(query.shape)
