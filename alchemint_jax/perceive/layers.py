"""Layers of convolutional networks as pure functions: images [b h w c], kernels [h w in out].

Whatever normalises batches is folded into kernels and biases when weights are converted, so a
layer is its kernel and its bias.
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
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
