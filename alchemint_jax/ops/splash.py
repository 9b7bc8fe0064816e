"""Attention by splash, JAX's kernel for TPUs: probabilities stay in the chip's fast memory.

Axes: b batch, n m tokens, k heads, d head dim, e width of the values.
"""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

KEPT = "attention"
"""Name (`jax.ad_checkpoint.checkpoint_name`) of what attention would compute again in the
backward pass."""

_LANES = 128
_LARGEST = 1024


def splash(
    q: Float[Array, "b n k d"],
    k: Float[Array, "b m k d"],
    v: Float[Array, "b m k e"],
    key_mask: Bool[Array, "b m"] | None = None,
    scale: float | None = None,
    interpret: bool = False,
) -> Float[Array, "b n k e"]:
    """Tokens are padded to blocks; padding and masked keys are of another segment than queries.

    Each sample must see a key.

    Args:
        q: queries.
        k: keys.
        v: values, of any width.
        key_mask: which keys are seen.
        scale: of the logits; d**-0.5 where None.
        interpret: runs the kernel as array operations, on any platform and slowly.
    """
    from jax.experimental.pallas.ops.tpu import splash_attention as kernels

    n, m = q.shape[1], k.shape[1]
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    block_q, block_k = block_size(n), block_size(m)
    q = (q.astype(jnp.float32) * scale).astype(q.dtype)  # the kernel has no scale of its own
    q, k, v = (
        jnp.pad(x.swapaxes(1, 2), ((0, 0), (0, 0), (0, -x.shape[1] % block), (0, 0)))
        for x, block in ((q, block_q), (k, block_k), (v, block_k))
    )
    segments = None
    if key_mask is not None or k.shape[2] > m:
        seen = jnp.ones((k.shape[0], m), bool) if key_mask is None else key_mask
        hidden = ~jnp.pad(seen, ((0, 0), (0, k.shape[2] - m)))
        queries = jnp.zeros((q.shape[0], q.shape[2]), jnp.int32)
        segments = kernels.SegmentIds(q=queries, kv=hidden.astype(jnp.int32))
    kernel = _kernel(block_q, block_k, interpret)
    return jax.vmap(kernel)(q, k, v, segments)[:, :, :n].swapaxes(1, 2)


def block_size(tokens: int) -> int:
    """Tokens of a block: as many as fast memory allows, but for some that pad less."""
    most = math.ceil(min(tokens, _LARGEST) / _LANES) * _LANES
    sizes = range(most, min(most, _LARGEST // 2) - 1, -_LANES)
    return min(sizes, key=lambda size: -tokens % size)


def _kernel(block_q: int, block_k: int, interpret: bool) -> Any:
    """The kernel without any mask but that of segments.

    `make_splash_mha` would look at each pair of blocks of a full mask (thousands, whenever the
    program is traced) to find that there is nothing to skip; without information on the mask it
    skips none. Queries have a backward pass of their own: the one that shares it with the keys
    writes a gradient of all queries for each block of keys, memory that grows with n m.
    """
    from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_kernel as kernels
    from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_mask_info as masks

    blocks = kernels.BlockSizes(
        block_q=block_q,
        block_kv=block_k,
        block_q_dkv=block_q,
        block_kv_dkv=block_k,
        block_q_dq=block_q,
        block_kv_dq=block_k,
    )
    nothing = masks.MaskInfo(None, None, None, None, None)
    return kernels.SplashAttentionKernel(
        nothing,
        nothing,
        nothing,
        block_sizes=blocks,
        is_mqa=False,
        save_residuals=False,
        mask_value=kernels.DEFAULT_MASK_VALUE,
        attn_logits_soft_cap=None,
        residual_checkpoint_name=KEPT,
        mask_function=None,
        interpret=interpret,
    )
