"""Attention as plain array operations: of everything at once, of some heads, of some queries.

Axes: b batch, n m tokens, k heads, d head dim, e width of the values.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name
from jaxtyping import Array, Bool, Float

from alchemint_jax.ops.splash import KEPT

# Probabilities of one head and sample that are formed at once, in blocks; 32 MiB of float32.
_AT_ONCE = 2**23
# Of all heads that are attended at once on a CPU, 2 MiB of float32: caches hold them, and gradients
# of several large heads in one product take longer than one by one.
_CACHED = 2**19


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

    The backward pass forms the probabilities again, from the logarithms of their sums: to read them
    from memory takes longer.

    Args:
        q: queries.
        k: keys.
        v: values, of any width.
        key_mask: which keys are seen.
        scale: of the logits; d**-0.5 where None.
        most: probabilities that are formed at once, if those of one head are not more.
    """
    (b, n, heads, d), m = q.shape, k.shape[1]
    fit = max(1, min(b * heads, most // (n * m)))
    size = next(g for g in range(fit, 0, -1) if b * heads % g == 0)
    if size == b * heads:
        return checkpoint_name(plain(q, k, v, key_mask, scale), KEPT)
    return _grouped(q, k, v, key_mask, d**-0.5 if scale is None else scale, size)


@partial(jax.custom_vjp, nondiff_argnums=(4, 5))
def _grouped(
    q: jax.Array, k: jax.Array, v: jax.Array, mask: jax.Array | None, scale: float, size: int
) -> jax.Array:
    return _grouped_forward(q, k, v, mask, scale, size)[0]


def _grouped_forward(
    q: jax.Array, k: jax.Array, v: jax.Array, mask: jax.Array | None, scale: float, size: int
) -> tuple[jax.Array, tuple[Any, ...]]:
    """The output, and what the backward pass needs: heads lead in it, but for the output's."""
    shape, seen = q.shape[:3], None
    q = q * jnp.asarray(scale, q.dtype)
    if mask is not None:
        q, k, mask = _masked(q, k, mask)
        seen = jnp.repeat(mask.astype(jnp.float32), q.shape[2], 0).reshape(-1, size, k.shape[1], 1)

    def few(group: tuple[Any, ...]) -> tuple[jax.Array, jax.Array]:
        if size == 1:  # XLA's products and sums of one head are faster without its axis
            group = jax.tree.map(lambda x: x[0], group)
        q, k, v, seen = group
        logits = (q @ k.mT).astype(jnp.float32)
        most = logits.max(-1, keepdims=True)
        unnormalized = jnp.exp(logits - most)
        if seen is None:
            total = unnormalized.sum(-1, keepdims=True)
        else:  # only values and sums leave out keys: to write all probabilities again takes longer
            total = (unnormalized * seen.mT).sum(-1, keepdims=True)
            v = v * seen.astype(v.dtype)
        y = (unnormalized.astype(v.dtype) @ v).astype(jnp.float32) / total
        return y.astype(v.dtype), most + jnp.log(total)

    split = (*(_groups(x, size) for x in (q, k, v)), seen)
    y, sums = jax.lax.map(few, split)
    if size == 1:
        y, sums = y[:, None], sums[:, None]
    y = checkpoint_name(_heads_last(y, shape), KEPT)
    return y, (split, y, checkpoint_name(sums, KEPT))


def _masked(q: jax.Array, k: jax.Array, mask: jax.Array) -> tuple[jax.Array, ...]:
    """Keys that are not seen repeat one that is: the largest logits are those of keys that are.

    A sample that sees no key has logits of zero, and so the mean of its values; queries and keys of
    zero leave each other no gradient.
    """
    none = ~mask.any(1, keepdims=True)
    one = jnp.take_along_axis(k, mask.argmax(1)[:, None, None, None], axis=1)
    q, one = (jnp.where(none[:, :, None, None], 0, x) for x in (q, one))
    return q, jnp.where(mask[:, :, None, None], k, one), mask | none


def _grouped_backward(
    scale: float, size: int, kept: tuple[Any, ...], dy: jax.Array
) -> tuple[jax.Array | None, ...]:
    """Gradients by the output `y`: of the logits they are `p (dp - sum(dy y))` (Dao et al. 2022).

    Probabilities are transposed here, keys by queries: so no wide array is an operand that a
    product has to transpose, which takes XLA longer than the product.
    """
    split, y, sums = kept
    one = dy.shape[1:] if dy.shape[0] == 1 else dy.shape
    # XLA's sums of products are many times slower beside an axis of a batch of one.
    inner = jnp.sum(dy.reshape(one).astype(jnp.float32) * y.reshape(one).astype(jnp.float32), -1)
    inner = inner.reshape(*dy.shape[:3], 1)

    def few(group: tuple[Any, ...]) -> tuple[jax.Array, ...]:
        (q, k, v, seen), sums, dy, inner = group
        p = jnp.exp((k @ q.mT).astype(jnp.float32) - sums.mT)
        ds = (p * ((v @ dy.mT).astype(jnp.float32) - inner.mT)).astype(q.dtype)
        dk, dv = ds @ q, p.astype(dy.dtype) @ dy
        if seen is not None:  # rows of keys: neither they nor their gradients count
            k, dk, dv = (x * seen.astype(x.dtype) for x in (k, dk, dv))
        return (k.mT @ ds).mT, dk, dv

    found = jax.lax.map(few, (split, sums, _groups(dy, size), _groups(inner, size)))
    b, _, heads, _ = dy.shape
    dq, dk, dv = (_heads_last(x, (b, x.shape[2], heads)) for x in found)
    return dq * jnp.asarray(scale, dq.dtype), dk, dv, None


_grouped.defvjp(_grouped_forward, _grouped_backward)


def _groups(x: Float[Array, "b n k d"], size: int) -> Float[Array, "groups size n d"]:
    """Heads of all samples, so many at once."""
    return x.swapaxes(1, 2).reshape(-1, size, x.shape[1], x.shape[3])


def _heads_last(
    x: Float[Array, "groups size n d"], shape: tuple[int, ...]
) -> Float[Array, "b n k d"]:
    b, n, heads = shape
    return x.reshape(b, heads, n, -1).swapaxes(1, 2)


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
