"""Multiply queries or keys by a table of gains."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float


def apply_gains(
    x: Float[Array | np.ndarray, "b n k d"],
    gains: Complex[Array | np.ndarray, "#b n d//2"],
) -> Float[Array, "b n k d"]:
    """Treat dims (2i, 2i + 1) of every head as one complex number and multiply it by gain i.

    Interleaved pairs, as in Wan. Real arithmetic in float32 (accelerators have no fast complex
    kernels), returned in `x.dtype`.
    """
    x = jnp.asarray(x)
    real = jnp.real(gains).astype(jnp.float32)[:, :, None, :]
    imag = jnp.imag(gains).astype(jnp.float32)[:, :, None, :]
    pairs = x.astype(jnp.float32).reshape(*x.shape[:-1], -1, 2)
    even, odd = pairs[..., 0], pairs[..., 1]
    turned = jnp.stack([even * real - odd * imag, even * imag + odd * real], axis=-1)
    return turned.reshape(x.shape).astype(x.dtype)
