"""Attention with a bias that is alike for all keys of a group: a kernel for each group, merged.

A kernel that sees one group needs no bias: what is added to all of its logits changes their
log-sum-exp by as much, and the output not at all. So the outputs of all groups, weighted by the
exponentials of their log-sum-exps with the biases, are attention with the bias, and queries and
keys stay as wide as they are. On a TPU, whose tiles are of 128 channels, folded ones (see
`ops.bias`) double the products of queries and keys where heads have 128.

Axes: b batch, n m tokens, k heads, w head dim and the channels of a bias, e width of the
values.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from alchemint_jax.ops.bias import Groups

Kernel = Callable[..., tuple[jax.Array, jax.Array]]
"""Output [b n k e] and log-sum-exp [b n k] of queries, keys, values and mask, without a bias."""
Whole = Callable[..., jax.Array]
"""Output of queries and keys with the channels of the bias."""


def grouped(
    q: Float[Array, "b n k w"],
    k: Float[Array, "b m k w"],
    v: Float[Array, "b m k e"],
    key_mask: Bool[Array, "b m"] | None,
    scale: float,
    groups: Groups,
    head_dim: int,
    kernel: Kernel,
    whole: Whole,
) -> Float[Array, "b n k e"]:
    """Attention with the bias that is folded into the channels behind the first `head_dim`.

    Queries of the first group attend group by group; all others, which are few, attend to keys as
    they are folded. The backward pass is that of the latter way for all queries, since kernels give
    no gradient of a log-sum-exp.

    Args:
        q: queries, with the bias's channels; at least all tokens of the groups.
        k: keys, with the bias's channels.
        v: values.
        key_mask: which keys are seen; those behind the groups are not.
        scale: of the logits.
        groups: of keys; some of the first one must be seen.
        head_dim: channels that are no bias's.
        kernel: attends to one group.
        whole: attends to all keys.
    """
    run = partial(_forward, scale, groups, head_dim, kernel, whole)

    @jax.custom_vjp
    def attend(q: jax.Array, k: jax.Array, v: jax.Array, mask: Any) -> jax.Array:
        return run(q, k, v, mask)

    def forward(q: jax.Array, k: jax.Array, v: jax.Array, mask: Any) -> tuple[jax.Array, Any]:
        return run(q, k, v, mask), (q, k, v, mask)

    def backward(kept: Any, gradient: jax.Array) -> tuple[Any, ...]:
        *inputs, mask = kept
        return *jax.vjp(lambda q, k, v: whole(q, k, v, mask), *inputs)[1](gradient), None

    attend.defvjp(forward, backward)
    return attend(q, k, v, key_mask)


def _forward(
    scale: float,
    groups: Groups,
    head_dim: int,
    kernel: Kernel,
    whole: Whole,
    q: jax.Array,
    k: jax.Array,
    v: jax.Array,
    mask: jax.Array | None,
) -> jax.Array:
    first = groups[0][0][1]
    queries, channels = jnp.split(q[:, :first], [head_dim], axis=3)
    outputs, logits = [], []
    for runs in groups:
        keys, values = (_of(x, runs) for x in (k, v))
        seen = none = None
        if mask is not None:
            seen = _of(mask, runs)
            none = ~seen.any(1, keepdims=True)
            seen = seen | none  # kernels need a key to see
        y, total = kernel(queries, keys[..., :head_dim], values, seen)
        row = keys[:, 0, :, head_dim:]
        bias = jnp.einsum("bnkr,bkr->bnk", channels, row, preferred_element_type=jnp.float32)
        total = total.astype(jnp.float32) + scale * bias
        outputs.append(y)
        logits.append(total if none is None else jnp.where(none[..., None], -jnp.inf, total))
    shares = jax.nn.softmax(jnp.stack(logits), axis=0)
    y = sum(
        share[..., None] * y.astype(jnp.float32) for share, y in zip(shares, outputs, strict=True)
    )
    rest = whole(q[:, first:], k, v, mask)
    return jnp.concatenate([jnp.asarray(y).astype(rest.dtype), rest], axis=1)


def _of(x: jax.Array, runs: tuple[tuple[int, int], ...]) -> jax.Array:
    """The tokens of some runs, one behind the other."""
    parts = [x[:, start : start + length] for start, length in runs]
    return parts[0] if len(parts) == 1 else jnp.concatenate(parts, axis=1)
