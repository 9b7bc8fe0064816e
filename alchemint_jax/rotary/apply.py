"""Multiplication of queries or keys by a table of gains."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float

from alchemint_jax.rotary.inlined import inlined


@inlined()
def apply_gains(
    x: Float[Array | np.ndarray, "b n k d"],
    gains: Complex[Array | np.ndarray, "#b n d//2"],
) -> Float[Array, "b n k d"]:
    """Multiplies queries or keys by gains: dims (2i, 2i + 1) of a head are one complex number.

    Pairs are interleaved, as in Wan. The arithmetic is real and in float32, because accelerators
    have no fast complex kernels.

    Args:
        x: queries or keys, `[b, n, k, d]`.
        gains: one gain for each token and pair, `[b, n, d/2]`; a batch of 1 serves all.

    Returns:
        The products, shape and dtype of `x`.

    Raises:
        TypeError: `gains` are of another number of tokens or pairs than `x`.

    Examples:
        A rotation by a quarter turn takes (1, 0) to (0, 1):

        >>> x = np.array([[[[1.0, 0.0]]]], np.float32)
        >>> np.round(al.rotary.apply_gains(x, np.array([[[1j]]], np.complex64)), 3).tolist()
        [[[[0.0, 1.0]]]]

    Source:
        RoFormer, arXiv 2104.09864, section 3.2: (x_2i + i x_2i+1) g_i.
    """
    x = jnp.asarray(x)
    real = jnp.real(gains).astype(jnp.float32)[:, :, None, :]
    imag = jnp.imag(gains).astype(jnp.float32)[:, :, None, :]
    pairs = x.astype(jnp.float32).reshape(*x.shape[:-1], -1, 2)
    even, odd = pairs[..., 0], pairs[..., 1]
    turned = jnp.stack([even * real - odd * imag, even * imag + odd * real], axis=-1)
    return turned.reshape(x.shape).astype(x.dtype)
