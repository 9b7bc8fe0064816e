"""Convolutions of the causal video autoencoder. Axes: b batch, f frames, h w space, c channels."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

_LAYOUT = ("NHWC", "HWIO", "NHWC")


def conv2d(
    x: Float[Array, "b f h w c"],
    kernel: Float[Array, "kh kw c o"],
    bias: Float[Array, " o"] | None = None,
    stride: int = 1,
    padding: tuple[tuple[int, int], tuple[int, int]] = ((1, 1), (1, 1)),
) -> Float[Array, "b f h2 w2 o"]:
    """Convolves every frame on its own."""
    b, f, *frame = x.shape
    y = jax.lax.conv_general_dilated(
        x.reshape(b * f, *frame),
        kernel.astype(x.dtype),
        (stride, stride),
        padding,
        dimension_numbers=_LAYOUT,
    )
    y = y.reshape(b, f, *y.shape[1:])
    return y if bias is None else y + bias.astype(x.dtype)[None, None, None, None]


def conv3d_valid(
    x: Float[Array, "b f h w c"],
    kernel: Float[Array, "kt kh kw c o"],
    bias: Float[Array, " o"],
    stride: int = 1,
) -> Float[Array, "b f2 h w o"]:
    """Convolution that is `valid` in time (strided) and zero-padded to the same size in space.

    Written as the sum over temporal taps of convolutions of frames: XLA's 3D convolution is slower
    on CPU, and elsewhere the compiler sees the same products.
    """
    kt, kh, kw = kernel.shape[:3]
    frames = (x.shape[1] - kt) // stride + 1
    padding = ((kh // 2, kh // 2), (kw // 2, kw // 2))
    taps = (x[:, i : i + (frames - 1) * stride + 1 : stride] for i in range(kt))
    y = sum(conv2d(tap, kernel[i], padding=padding) for i, tap in enumerate(taps))
    return y + bias.astype(x.dtype)[None, None, None, None]


def upsample_nearest(x: Float[Array, "b f h w c"]) -> Float[Array, "b f 2*h 2*w c"]:
    """Doubles height and width by repetition."""
    return jnp.repeat(jnp.repeat(x, 2, axis=2), 2, axis=3)
