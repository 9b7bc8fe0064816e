"""Attention by cuDNN, NVIDIA's kernel for GPUs: probabilities stay in the chip's fast memory.

Axes: b batch, n m tokens, k heads, d head dim, e width of the values.
"""

from __future__ import annotations

import re
from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float


def cudnn(
    q: Float[Array, "b n k d"],
    k: Float[Array, "b m k d"],
    v: Float[Array, "b m k e"],
    key_mask: Bool[Array, "b m"] | None = None,
    scale: float | None = None,
    implementation: Literal["cudnn", "xla"] = "cudnn",
) -> Float[Array, "b n k e"]:
    """Half precision only. Each sample must see a key.

    The kernel takes a mask as a bias of all pairs of tokens, in memory that grows with n m, or as
    the number of keys that are seen, if these are the first. Attention does not depend on the
    order of keys: those that are seen are put first.

    Args:
        q: queries.
        k: keys.
        v: values, of any width: all three are padded to one width, a multiple of 8.
        key_mask: which keys are seen.
        scale: of the logits; d**-0.5 where None.
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
    d, e = q.shape[3], v.shape[3]
    wide = -(-max(d, e) // 8) * 8
    if scale is None and wide != d:
        scale = d**-0.5  # JAX's own is that of the width that it sees
    # JAX refuses odd numbers of tokens in the backward pass.
    q, k, v = (
        jnp.pad(x, ((0, 0), (0, x.shape[1] % 2), (0, 0), (0, wide - x.shape[3]))) for x in (q, k, v)
    )
    y = jax.nn.dot_product_attention(
        q, k, v, scale=scale, key_value_seq_lengths=seen, implementation=implementation
    )
    return y[:, :n, :, :e]


def widest() -> int:
    """The widest heads that the kernel takes on the GPU here, or on that of the current mesh.

    A plan's GPUs are not here, and say no more than their names. Without any it is 128.
    """
    capability = getattr(jax.local_devices()[0], "compute_capability", None)
    if capability is None:
        planned = jax.sharding.get_abstract_mesh().abstract_device
        hopper = planned is not None and re.search("H[12]00", planned.device_kind)
        capability = 9.0 if hopper else 0.0
    return 256 if float(capability) >= 9 else 128


def _reordered(
    x: Float[Array, "b m k d"], order: Array, kept: Bool[Array, "b m"]
) -> Float[Array, "b m k d"]:
    """Tokens in this order, zero where they are not kept, whatever a kernel's gradient is there."""
    x = jax.vmap(lambda y, i: y.at[i].get(unique_indices=True, mode="promise_in_bounds"))(x, order)
    return jnp.where(kept[:, :, None, None], x, 0)
