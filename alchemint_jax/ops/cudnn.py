"""Attention by cuDNN, NVIDIA's kernel for GPUs: weights never leave the chip's fast memory.

Axes: b batch, n m tokens, k heads, d head dim.
"""

from __future__ import annotations

from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float


def cudnn(
    q: Float[Array, "b n k d"],
    k: Float[Array, "b m k d"],
    v: Float[Array, "b m k d"],
    key_mask: Bool[Array, "b m"] | None = None,
    implementation: Literal["cudnn", "xla"] = "cudnn",
) -> Float[Array, "b n k d"]:
    """Half precision only. Each sample must see a key.

    The kernel takes a mask as a bias of all pairs of tokens, in memory that grows with n m, or as
    the number of keys that are seen, if these are the first. Attention does not depend on the
    order of keys: those that are seen are put first.

    Args:
        q: queries.
        k: keys.
        v: values.
        key_mask: which keys are seen.
        implementation: of `jax.nn.dot_product_attention`; "xla" runs anywhere, to test the rest.
    """
    n, m, seen = q.shape[1], k.shape[1], None
    if key_mask is not None:
        seen = key_mask.sum(1, dtype=jnp.int32)
        order = jnp.argsort(~key_mask, axis=1, stable=True)
        kept = jnp.arange(m)[None] < seen[:, None]
        k, v = (_reordered(x, order, kept) for x in (k, v))
    elif m % 2:
        seen = jnp.full(k.shape[:1], m, jnp.int32)
    # JAX refuses odd numbers of tokens backwards.
    q, k, v = (jnp.pad(x, ((0, 0), (0, x.shape[1] % 2), (0, 0), (0, 0))) for x in (q, k, v))
    y = jax.nn.dot_product_attention(
        q, k, v, key_value_seq_lengths=seen, implementation=implementation
    )
    return y[:, :n]


def _reordered(
    x: Float[Array, "b m k d"], order: Array, kept: Bool[Array, "b m"]
) -> Float[Array, "b m k d"]:
    """Tokens in this order, zero where they are not kept, whatever a kernel's gradient is there."""
    x = jax.vmap(lambda y, i: y.at[i].get(unique_indices=True, mode="promise_in_bounds"))(x, order)
    return jnp.where(kept[:, :, None, None], x, 0)
