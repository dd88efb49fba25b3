"""Names for the tensors that cross files, with one legend of their dimensions.

batch     rows in a batch                 time      tokens in a row
hidden    width of the residual stream    vocab     entries of the vocabulary
heads     query heads                     kv_heads  key/value heads
head_dim  width of one head               keys      cached and new tokens that may be attended to
layers    decoder layers                  table     width of one layer's token table
chosen    positions that were picked out of batch × time
"""

from torch import Tensor

Tokens = Tensor  # int64 [batch, time]
Positions = Tensor  # int64 [batch, time], from 0 in every document
Documents = Tensor  # int64 [batch, time], equal within one document, -1 on padding
Weights = Tensor  # float32 [batch, time], what a token counts in the loss
Hidden = Tensor  # float32 [batch, time, hidden]
PerLayerInput = Tensor  # float32 [batch, time, table], what the tables offer one layer
Queries = Tensor  # float32 [batch, heads, time, head_dim]
Keys = Tensor  # float32 [batch, kv_heads, keys, head_dim]
Values = Tensor  # float32 [batch, kv_heads, keys, head_dim]
Mask = Tensor  # float32 [batch, 1, time, keys], 0 where a query may look, −∞ elsewhere
Logits = Tensor  # float32 [..., vocab]
