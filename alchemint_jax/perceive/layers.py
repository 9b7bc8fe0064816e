"""Layers of convolutional networks as pure functions: images [b h w c], kernels [h w in out].

Whatever normalises batches is folded into kernels and biases when weights are converted, so a
layer is its kernel and its bias.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jaxtyping import Float

Images = Float[Array, "b _ _ _"]


class Layer(NamedTuple):
    """A convolution: `kernel` [h w in out], or [h w c] if it is a depthwise one, and `bias`."""

    kernel: Array
    bias: Array


def convolve(x: Images, layer: Layer, stride: int = 1, dilation: int = 1) -> Images:
    """Padded as TensorFlow's SAME: by the same on both sides, or by one more at the end."""
    kernel, bias = layer
    if kernel.shape[:2] == (1, 1):
        return x @ kernel[0, 0] + bias[None, None, None]
    y = lax.conv_general_dilated(
        x,
        kernel,
        (stride, stride),
        "SAME",
        rhs_dilation=(dilation, dilation),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )
    return y + bias[None, None, None]


class Tiled(NamedTuple):
    """A convolution of 3 x 3 pixels for `convolve_tiled`: `kernel` [16 in out], and `bias`."""

    kernel: Array
    bias: Array


def tiled(layer: Layer) -> Tiled:
    """A convolution of 3 x 3 pixels as `convolve_tiled` takes it."""
    kernel = np.asarray(layer.kernel)
    corners = np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]], np.float32)
    made = np.kron(corners, corners) @ kernel.reshape(9, -1)
    return Tiled(jax.device_put(made.reshape(16, *kernel.shape[2:])), layer.bias)


def convolve_tiled(x: Images, layer: Tiled) -> Images:
    """`convolve` of 3 x 3 pixels in tiles of 2 x 2, with 4 products for each 9 of the plain sum.

    Where there are hundreds of channels it is the faster one on a CPU.

    Source: A. Lavin and S. Gray, "Fast Algorithms for Convolutional Neural Networks",
    arXiv:1509.09308: F(2 x 2, 3 x 3).
    """
    b, height, width, c = x.shape
    rows, columns = -(-height // 2), -(-width // 2)
    x = jnp.pad(x, ((0, 0), (1, 2 * rows - height + 1), (1, 2 * columns - width + 1), (0, 0)))

    def there(x: Array, axis: int, count: int) -> list[Array]:
        d = [lax.slice_in_dim(x, i, i + 2 * count - 1, 2, axis) for i in range(4)]
        return [d[0] - d[2], d[1] + d[2], d[2] - d[1], d[1] - d[3]]

    def back(m: Array) -> list[Array]:
        return [m[0] + m[1] + m[2], m[1] - m[2] - m[3]]

    parts = [part for row in there(x, 1, rows) for part in there(row, 2, columns)]
    tiles = jnp.stack([part.reshape(-1, c) for part in parts])
    found = jnp.einsum("pnc,pcd->pnd", tiles, layer.kernel, precision=lax.Precision.HIGHEST)
    found = found.reshape(4, 4, b, rows, columns, -1)
    y = jnp.stack([jnp.stack(back(row), 3) for row in back(found)], 2)
    y = y.reshape(b, 2 * rows, 2 * columns, -1)[:, :height, :width]
    return y + layer.bias[None, None, None]


def convolve_halved(x: Images, layer: Layer) -> Images:
    """`halve` of `convolve` of 3 x 3 pixels, where there are few channels; sides must be even.

    The four results of which one is kept are channels of one convolution, which is faster on a CPU
    than a plain one of three channels.
    """
    kernel, bias = layer
    shifts = [((i, 1 - i), (j, 1 - j), (0, 0), (0, 0)) for i in (0, 1) for j in (0, 1)]
    four = jnp.concatenate([jnp.pad(kernel, shift) for shift in shifts], -1)
    y = lax.conv_general_dilated(
        x, four, (2, 2), ((1, 1), (1, 1)), dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    return y.reshape(*y.shape[:3], 4, -1).max(3) + bias[None, None, None]


def depthwise(x: Images, layer: Layer, stride: int = 1) -> Images:
    """Each channel by itself, padded as by `convolve`: a sum of shifted images.

    XLA's grouped convolution takes many times as long on a CPU.
    """
    kernel, bias = layer
    rows, columns, _ = kernel.shape
    height, width = (-(-n // stride) for n in x.shape[1:3])
    room = [
        max((n - 1) * stride + k - m, 0)
        for n, k, m in zip((height, width), (rows, columns), x.shape[1:3], strict=True)
    ]
    x = jnp.pad(x, ((0, 0), *((r // 2, r - r // 2) for r in room), (0, 0)))
    y = bias[None, None, None]
    for i in range(rows):
        for j in range(columns):
            end = i + (height - 1) * stride + 1, j + (width - 1) * stride + 1
            y = y + x[:, i : end[0] : stride, j : end[1] : stride] * kernel[i, j][None, None, None]
    return y


def halve(x: Images) -> Images:
    """The largest value of every 2 x 2 pixels; height and width must be even."""
    b, h, w, c = x.shape
    return x.reshape(b, h // 2, 2, w // 2, 2, c).max((2, 4))


def double(x: Images) -> Images:
    """Every pixel four times."""
    return x.repeat(2, 1).repeat(2, 2)


def leaky(x: Array) -> Array:
    """What is negative becomes a tenth of it."""
    return jnp.maximum(x, 0.1 * x)
