"""What attention computes: softmax(q kᵀ + mask) v, query heads sharing key/value heads in order.

Vaswani et al. 2017, eq. 1, without its √; Ainslie et al. 2023, "GQA".
"""

import torch
from torch.nn import functional

from minikin.base.shapes import Keys, Mask, Queries, Values

_SHORT = 512  # keys


def attended(query: Queries, key: Keys, value: Values, mask: Mask) -> Queries:
    """What each query head gathers from the values that its mask lets it see."""
    batch, heads, time, head_dim = query.shape
    groups, keys = key.shape[1:3]
    if not torch.is_grad_enabled() or keys > _SHORT:
        shared = heads > groups
        return functional.scaled_dot_product_attention(query, key, value, mask, scale=1.0, enable_gqa=shared)
    # plain products: over short rows the fused kernel's backward pass takes a third longer; in bfloat16, a whole step
    # of the village's full model a third
    scores = query.reshape(batch, groups, -1, head_dim) @ key.mT
    # a softmax sums in float32 whatever it is given, so scores may stay as the product made them
    shares = torch.softmax(scores.view(batch, heads, time, keys) + mask.to(scores.dtype), -1)
    return (shares.view(batch, groups, -1, keys) @ value).view(query.shape)
