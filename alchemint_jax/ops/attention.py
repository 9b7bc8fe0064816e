"""Scaled dot-product attention: the one place where models attend.

Axes: b batch, n m tokens, k heads, d head dim.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float


def attention(
    q: Float[Array, "b n k d"],
    k: Float[Array, "b m k d"],
    v: Float[Array, "b m k d"],
    key_mask: Bool[Array, "b m"] | None = None,
) -> Float[Array, "b n k d"]:
    """Attends with scale d**-0.5; softmax in float32. Keys whose mask is False get no weight.

    Heads lead the products, and the softmax is divided by its sum only after the product with the
    values, which is smaller than the weights: both are faster, most of all backwards on CPU.
    """
    q, k, v = (x.swapaxes(1, 2) for x in (q, k, v))
    logits = (q @ k.swapaxes(2, 3)).astype(jnp.float32) * q.shape[-1] ** -0.5
    if key_mask is not None:
        logits = jnp.where(key_mask[:, None, None, :], logits, jnp.finfo(jnp.float32).min)
    weights = jnp.exp(logits - jax.lax.stop_gradient(logits.max(-1, keepdims=True)))
    total = weights.sum(-1, keepdims=True)
    y = (weights.astype(v.dtype) @ v).astype(jnp.float32) / total
    return y.astype(v.dtype).swapaxes(1, 2)
