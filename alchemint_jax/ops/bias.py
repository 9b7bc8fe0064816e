"""What is added to attention's logits, and what attention gives to groups of keys.

Both are folded into queries, keys and values as further channels, so that every implementation of
attention has them without knowing, on any mesh, in the forward and the backward pass: the logits of
wider queries and keys are the logits and a bias, and the output for values that say which group a
key is in is the probability of that group.

A bias as an array of all pairs of tokens would need n m numbers: 12.4 GiB for one layer of Wan 1.3B
at 480p with two references on an H100, where attention needs 0.4, and 0.8 with a folded bias. To
attend to each group on its own, and merge by the log-sum-exp, needs what kernels give no gradient
of. Products of queries and keys grow by r / d; on a TPU, whose tiles are of 128 channels, they
double where d is 128.

Axes: b batch, n m tokens, k heads, d head dim, r rank of a bias, g groups.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

HIDDEN = -1024.0
"""A bias that hides a key: its probability is exactly 0 beside any key that is not hidden.

It is finite, so that where all keys are hidden the probabilities are those of finite logits; and a
power of two, which half precision has exactly.
"""


class LowRankBias(NamedTuple):
    """The bias `queries @ keys^T` of the logits, alike for all heads, of rank r."""

    queries: jax.Array
    """Rows of the queries [b n r]; the first axis may be 1."""
    keys: jax.Array
    """Rows of the keys [b m r]; the first axis may be 1."""


def folded(
    q: Float[Array, "b n k d"], k: Float[Array, "b m k d"], bias: LowRankBias, scale: float
) -> tuple[Float[Array, "b n k w"], Float[Array, "b m k w"]]:
    """Queries and keys of d + r channels, whose products times `scale` have the bias.

    Channels are of the queries' type: in bfloat16 a bias is rounded to 8 bits, 0.4 % of itself.
    """
    return widened(q, bias.queries / scale), widened(k, bias.keys)


def widened(
    x: Float[Array, "b n k d"], channels: Float[Array, "#b n r"]
) -> Float[Array, "b n k w"]:
    """`x` with these channels after its own in every head."""
    b, n, k, _ = x.shape
    more = jnp.broadcast_to(channels.astype(x.dtype)[:, :, None], (b, n, k, channels.shape[2]))
    return jnp.concatenate([x, more], axis=3)
