"""Attention as plain array operations: of everything at once, of some heads, of some queries.

Axes: b batch, n m tokens, k heads, d head dim, e width of the values.
"""

from __future__ import annotations

import math
from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

# Probabilities of one head and sample that are formed at once, in blocks; 32 MiB of float32.
_AT_ONCE = 2**23
# Of all heads that are attended at once on a CPU: 6 MiB of float32, which its caches hold.
_CACHED = 3 * 2**19


def plain(
    q: Float[Array, "b n k d"],
    k: Float[Array, "b m k d"],
    v: Float[Array, "b m k e"],
    key_mask: Bool[Array, "b m"] | None = None,
    scale: float | None = None,
) -> Float[Array, "b n k e"]:
    """Forms all attention probabilities, and keeps them for the backward pass.

    Heads lead the products, and the softmax is divided by its sum only after the product with the
    values, since the output is smaller: both are faster, most of all in the backward pass on CPU.

    Args:
        q: queries.
        k: keys.
        v: values, of any width.
        key_mask: which keys are seen.
        scale: of the logits; d**-0.5 where None.
    """
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    q, k, v = (x.swapaxes(1, 2) for x in (q, k, v))
    logits = (q @ k.swapaxes(2, 3)).astype(jnp.float32) * scale
    if key_mask is not None:
        logits = jnp.where(key_mask[:, None, None, :], logits, jnp.finfo(jnp.float32).min)
    unnormalized = jnp.exp(logits - jax.lax.stop_gradient(logits.max(-1, keepdims=True)))
    total = unnormalized.sum(-1, keepdims=True)
    y = (unnormalized.astype(v.dtype) @ v).astype(jnp.float32) / total
    return y.astype(v.dtype).swapaxes(1, 2)


def grouped(
    q: Float[Array, "b n k d"],
    k: Float[Array, "b m k d"],
    v: Float[Array, "b m k e"],
    key_mask: Bool[Array, "b m"] | None = None,
    scale: float | None = None,
    most: int = _CACHED,
) -> Float[Array, "b n k e"]:
    """`plain` for a few heads of samples after another, where all do not fit a CPU's caches.

    The backward pass forms the probabilities again: to read them from memory takes longer.

    Args:
        q: queries.
        k: keys.
        v: values, of any width.
        key_mask: which keys are seen.
        scale: of the logits; d**-0.5 where None.
        most: probabilities that are formed at once, if those of one head are not more.
    """
    (b, n, heads, _), m = q.shape, k.shape[1]
    fit = max(1, min(b * heads, most // (n * m)))
    size = next(g for g in range(fit, 0, -1) if b * heads % g == 0)
    if size == b * heads:
        return plain(q, k, v, key_mask, scale)

    def groups(x: jax.Array) -> jax.Array:
        return x.swapaxes(1, 2).reshape(-1, size, x.shape[1], 1, x.shape[3])

    mask = None if key_mask is None else jnp.repeat(key_mask, heads, 0).reshape(-1, size, m)

    @partial(jax.checkpoint, prevent_cse=False)
    def few(group: tuple[jax.Array, jax.Array, jax.Array, jax.Array | None]) -> jax.Array:
        return plain(*group, scale)

    y = jax.lax.map(few, (groups(q), groups(k), groups(v), mask))
    return y.reshape(b, heads, n, -1).swapaxes(1, 2)


def blocked(
    q: Float[Array, "b n k d"],
    k: Float[Array, "b m k d"],
    v: Float[Array, "b m k e"],
    key_mask: Bool[Array, "b m"] | None = None,
    scale: float | None = None,
    block: int | None = None,
) -> Float[Array, "b n k e"]:
    """`plain` for one block of queries after another.

    Memory grows with n and m, not with their product: the backward pass forms the probabilities
    again, so that a training step takes one more product of queries and keys.

    Args:
        q: queries.
        k: keys.
        v: values, of any width.
        key_mask: which keys are seen.
        scale: of the logits; d**-0.5 where None.
        block: most queries of a block; by default few enough for a bounded number of probabilities.
    """
    n, dtype = q.shape[1], k.dtype
    blocks = math.ceil(n / (block or max(128, _AT_ONCE // k.shape[1])))
    size = math.ceil(n / blocks)
    q = jnp.pad(q, ((0, 0), (0, blocks * size - n), (0, 0), (0, 0)))
    # Gradients of keys and values are sums over blocks, in the type that the loop is given.
    k, v = k.astype(jnp.float32), v.astype(jnp.float32)

    @partial(jax.checkpoint, prevent_cse=False)
    def one(queries: jax.Array) -> jax.Array:
        return plain(queries, k.astype(dtype), v.astype(dtype), key_mask, scale)

    y = jax.lax.map(one, q.reshape(q.shape[0], blocks, size, *q.shape[2:]).swapaxes(0, 1))
    return y.swapaxes(0, 1).reshape(*q.shape[:3], v.shape[3])[:, :n]
