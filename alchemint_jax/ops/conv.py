"""Convolutions of the causal video autoencoder. Axes: b batch, f frames, h w space, c channels.

The functions that look along time stream. Each takes a chunk of a clip and what the chunk before it
left (`before`, None where the clip starts), and returns what can be computed by now and what the
next chunk needs. A whole clip is one chunk. However a clip is cut, the outputs put together are the
same, as long as the first chunk holds frame 0; a chunk may also be too short to complete a frame.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from alchemint_jax.ops.attention import platform
from alchemint_jax.ops.winograd import convolve_time

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


_FEW = 16  # channels


def conv3d_valid(
    x: Float[Array, "b f h w c"],
    kernel: Float[Array, "kt kh kw c o"],
    bias: Float[Array, " o"],
    stride: int = 1,
) -> Float[Array, "b f2 h w o"]:
    """Convolution that is `valid` in time (strided) and zero-padded to the same size in space.

    Written as the sum over temporal taps of convolutions of frames: XLA's 3D convolution is slower
    on CPU, and elsewhere the compiler sees the same products. Where they give few channels, all
    taps are channels of one convolution, and its outputs are summed: matrices of few columns are
    slow on a CPU. There, layers with many channels take fewer products (see `ops.winograd`).
    """
    kt, kh, kw = kernel.shape[:3]
    frames = (x.shape[1] - kt) // stride + 1
    padding = ((kh // 2, kh // 2), (kw // 2, kw // 2))
    starts = [slice(i, i + (frames - 1) * stride + 1, stride) for i in range(kt)]
    if stride == 1 and frames > 1 and _in_fewer_products(x, kernel):
        y: jax.Array | int = convolve_time(
            x, kernel, lambda x, tap: conv2d(x, tap, padding=padding)
        )
    elif kt > 1 and stride == 1 and kernel.shape[4] <= _FEW:
        together = kernel.transpose(1, 2, 3, 0, 4).reshape(kh, kw, x.shape[-1], -1)
        taps = jnp.split(conv2d(x, together, padding=padding), kt, axis=-1)
        y = sum(tap[:, start] for tap, start in zip(taps, starts, strict=True))
    else:
        y = sum(conv2d(x[:, s], k, padding=padding) for s, k in zip(starts, kernel, strict=True))
    return y + bias.astype(x.dtype)[None, None, None, None]


def causal_conv3d(
    x: Float[Array, "b f h w c"],
    kernel: Float[Array, "kt kh kw c o"],
    bias: Float[Array, " o"],
    before: Float[Array, "b past h w c"] | None = None,
) -> tuple[Float[Array, "b f h w o"], Float[Array, "b past2 h w c"]]:
    """Convolution that sees the present and the past; zeros stand before frame 0."""
    past = kernel.shape[0] - 1
    window = _join(before, x, past)
    kept = window[:, x.shape[1] :]
    if before is None and (x.shape[1] == 1 or _in_fewer_products(x, kernel)):
        # The first frame (or a picture) has only zeros before it: a third of the work. And what
        # follows it in a whole clip is often a multiple of four frames, made in fewest products.
        first = conv3d_valid(x[:, :1], kernel[-1:], bias)
        if x.shape[1] == 1:
            return first, kept
        return jnp.concatenate([first, conv3d_valid(window[:, 1:], kernel, bias)], axis=1), kept
    return conv3d_valid(window, kernel, bias), kept


def _in_fewer_products(x: jax.Array, kernel: jax.Array) -> bool:
    """Whether Winograd's algorithm is faster, and exact enough: halves would lose too much."""
    wide = kernel.shape[0] == 3 and max(kernel.shape[3:]) > _FEW
    return wide and x.dtype == jnp.float32 and platform() == "cpu"


def merge_frames(
    x: Float[Array, "b f h w c"],
    kernel: Float[Array, "3 kh kw c o"],
    bias: Float[Array, " o"],
    before: Float[Array, "b past h w c"] | None = None,
) -> tuple[Float[Array, "b f2 h w o"], Float[Array, "b past2 h w c"]]:
    """Makes one frame of every two after frame 0, from these two and the one before them.

    Frame 0 passes as it is.
    """
    window = _join(before, x, 0)
    count = max(0, (window.shape[1] - 1) // 2)
    merged = conv3d_valid(window, kernel, bias, stride=2) if count else x[:, :0]
    y = jnp.concatenate([x[:, :1], merged], axis=1) if before is None else merged
    return y, window[:, 2 * count :]


def split_frames(
    x: Float[Array, "b f h w c"],
    kernel: Float[Array, "kt kh kw c 2*c"],
    bias: Float[Array, " 2*c"],
    before: Float[Array, "b past h w c"] | None = None,
) -> tuple[Float[Array, "b f2 h w c"], Float[Array, "b past2 h w c"]]:
    """Makes two frames of every one after frame 0, from it and those before it, but not frame 0.

    Frame 0 passes as it is.
    """
    first, rest = (x[:, :1], x[:, 1:]) if before is None else (x[:, :0], x)
    window = _join(before, rest, kernel.shape[0] - 1)
    pairs = conv3d_valid(window, kernel, bias)
    b, f, h, w, _ = pairs.shape
    halves = pairs.reshape(b, f, h, w, 2, x.shape[-1]).transpose(0, 1, 4, 2, 3, 5)
    y = jnp.concatenate([first, halves.reshape(b, 2 * f, *halves.shape[3:])], axis=1)
    return y, window[:, rest.shape[1] :]


def _join(before: jax.Array | None, x: jax.Array, zeros: int) -> jax.Array:
    """A chunk after what the one before it left, or after `zeros` frames of zeros."""
    if before is not None:
        return jnp.concatenate([before, x], axis=1)
    return jnp.pad(x, ((0, 0), (zeros, 0), (0, 0), (0, 0), (0, 0))) if zeros else x


def upsampled_conv2d(
    x: Float[Array, "b f h w c"],
    kernel: Float[Array, "3 3 c o"],
    bias: Float[Array, " o"] | None = None,
) -> Float[Array, "b f 2*h 2*w o"]:
    """Doubles height and width by repetition and convolves, all on the small frames.

    The four pixels around a corner of cells see these four cells and no others, as the copies that
    they are. So each of them is a convolution of 2 x 2 cells, with sums of taps as its weights, and
    all are channels of one: 16 products in the place of 36, and wide matrices.
    """
    b, f, h, w, c = x.shape
    o = kernel.shape[3]
    rows = _around(*kernel)
    wide = jnp.stack(
        [
            jnp.stack(
                [jnp.concatenate([k for row in i for k in _around(*row)[j]], -1) for j in (0, 1)]
            )
            for i in rows
        ]
    )
    # Padded before: on CPUs the gradients of a convolution that pads an even window are slow, that
    # of its weights by far.
    around = jnp.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1), (0, 0)))
    y = conv2d(around, wide, padding=((0, 0), (0, 0))).reshape(b, f, h + 1, w + 1, 2, 2, o)
    y = y.transpose(0, 1, 2, 4, 3, 5, 6).reshape(b, f, 2 * h + 2, 2 * w + 2, o)[:, :, 1:-1, 1:-1]
    return y if bias is None else y + bias.astype(x.dtype)[None, None, None, None]


def _around(
    a: jax.Array, b: jax.Array, c: jax.Array
) -> tuple[tuple[jax.Array, jax.Array], tuple[jax.Array, jax.Array]]:
    """The weights of the cell before a corner, and of the one behind it, by three taps.

    Each is a pair: for the last pixel before the corner, two of whose taps see its own cell, and
    for the first pixel behind it, two of whose taps see the cell behind.
    """
    return (a + b, a), (c, b + c)
