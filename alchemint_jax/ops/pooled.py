"""What the queries of a group give to each key in the mean, without forming all probabilities.

Axes: b batch, n m tokens, k heads, d head dim, g groups of queries.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
from einops import rearrange
from jaxtyping import Array, Float

from alchemint_jax import sharding
from alchemint_jax.ops.bias import LowRankBias, folded


def pooled_attention(
    q: Float[Array, "b n k d"],
    k: Float[Array, "b m k d"],
    groups: Float[Array, "1 n g"],
    bias: LowRankBias | None = None,
) -> Float[Array, "b g m"]:
    """The mean, over heads and the queries of a group, of the probabilities of keys.

    Probabilities of one head are there at a time, and on a mesh of one head for each part of them:
    this is for keys that are few, such as those of a text.

    Args:
        q: queries.
        k: keys.
        groups: 1 where a query is of a group, else 0; no group is empty.
        bias: what is added to the logits.
    """
    scale, heads = q.shape[3] ** -0.5, q.shape[2]
    if bias is not None:
        q, k = folded(q, k, bias, scale)
    shares = groups[0] / (heads * groups[0].sum(0, keepdims=True))

    def add(total: jax.Array, one: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, None]:
        logits = jnp.einsum("bnsd,bmsd->bnsm", *one).astype(shares.dtype) * scale
        given = jax.nn.softmax(logits, axis=-1)
        return total + jnp.einsum("bnsm,ng->bgm", given, shares), None

    nothing = jnp.zeros((q.shape[0], groups.shape[2], k.shape[1]), shares.dtype)
    return jax.lax.scan(add, nothing, (one_by_one(q), one_by_one(k)))[0]


def one_by_one(x: Float[Array, "b n k d"]) -> Float[Array, "k2 b n s d"]:
    """One head after another; on a mesh one head of each part of them."""
    mesh = sharding.current_mesh()
    apart = 1 if mesh is None else math.gcd(x.shape[2], mesh.shape["tensor"])
    return rearrange(x, "b n (s k) d -> k b n s d", s=apart)
