"""Attention for CPUs: one head of one sample at a time, so that probabilities stay in the caches.

All of them at once are written to memory and read again several times in a training step, which
then waits for memory. Here the forward pass keeps the log-sum-exp of each query, and the backward
pass forms the probabilities again from it (FlashAttention, arXiv 2205.14135, algorithm 4, with a
whole head as the block): one more product, and no array of n m numbers but the one that is worked
on.

Axes: b batch, n m tokens, k heads, d head dim, e width of the values.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name
from jaxtyping import Array, Bool, Float

from alchemint_jax.ops.defaults import scale_of, seen_of
from alchemint_jax.ops.splash import KEPT

_HIDDEN = -1e30  # nothing of a finite logit is left beside it


def tiled(
    q: Float[Array, "b n k d"],
    k: Float[Array, "b m k d"],
    v: Float[Array, "b m k e"],
    key_mask: Bool[Array, "b m"] | None = None,
    scale: float | None = None,
) -> Float[Array, "b n k e"]:
    """Attends; what the backward pass needs has the name `splash.KEPT`, as a kernel's has.

    Each sample must see a key.

    Args:
        q: queries.
        k: keys.
        v: values, of any width.
        key_mask: which keys are seen.
        scale: of the logits; d**-0.5 where None.
    """
    b, n, heads, _ = q.shape
    scale = scale_of(q, scale)
    hidden = jnp.repeat(jnp.where(seen_of(k, key_mask), 0.0, _HIDDEN), heads, axis=0)
    q, k, v = (x.swapaxes(1, 2).reshape(b * heads, *x.shape[1::2]) for x in (q, k, v))
    y = _heads(scale, q, k, v, hidden)
    return y.reshape(b, heads, n, -1).swapaxes(1, 2)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _heads(scale: float, q: jax.Array, k: jax.Array, v: jax.Array, hidden: jax.Array) -> jax.Array:
    """Outputs [g n e] of queries [g n d], keys [g m d], values [g m e] and biases [g m]."""
    return jax.lax.map(lambda head: _forward(scale, *head)[0], (q, k, v, hidden))


def _keeping(scale: float, *given: jax.Array) -> tuple[jax.Array, Any]:
    y, total = jax.lax.map(lambda head: _forward(scale, *head), given)
    y, total = checkpoint_name(y, KEPT), checkpoint_name(total, KEPT)
    return y, (*given, y, total)


def _backward(scale: float, kept: Any, dy: jax.Array) -> tuple[jax.Array | None, ...]:
    return (*jax.lax.map(lambda head: _gradients(scale, *head), (*kept, dy)), None)


_heads.defvjp(_keeping, _backward)


def _logits(scale: float, q: jax.Array, k: jax.Array, hidden: jax.Array) -> jax.Array:
    return (q @ k.T).astype(jnp.float32) * scale + hidden[None]


def _forward(
    scale: float, q: jax.Array, k: jax.Array, v: jax.Array, hidden: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Outputs of one head, and the log-sum-exp of each query [n 1]."""
    logits = _logits(scale, q, k, hidden)
    most = logits.max(-1, keepdims=True)
    unnormalized = jnp.exp(logits - most)
    total = unnormalized.sum(-1, keepdims=True)
    y = (unnormalized.astype(v.dtype) @ v).astype(jnp.float32) / total
    return y.astype(v.dtype), most + jnp.log(total)


def _gradients(
    scale: float,
    q: jax.Array,
    k: jax.Array,
    v: jax.Array,
    hidden: jax.Array,
    y: jax.Array,
    total: jax.Array,
    dy: jax.Array,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Gradients of queries, keys and values of one head."""
    p = jnp.exp(_logits(scale, q, k, hidden) - total)
    both = (y.astype(jnp.float32) * dy.astype(jnp.float32)).sum(-1, keepdims=True)
    ds = (p * ((dy @ v.T).astype(jnp.float32) - both) * scale).astype(q.dtype)
    return ds @ k, ds.T @ q, p.astype(dy.dtype).T @ dy
