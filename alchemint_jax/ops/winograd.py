"""Convolution along time with fewer products, by Winograd's algorithm. Axes as in `ops.conv`.

Frames are taken as values of polynomials. Three taps make `m` frames of `m + 2`; here it takes
`m + 2` convolutions of single frames and not `3 m`. What goes in and what comes out are sums of
whole frames, so nothing is moved in memory for it.

Source: A. Lavin and S. Gray, "Fast Algorithms for Convolutional Neural Networks", arXiv:1509.09308;
how points matter: B. Barabasz et al., "Error Analysis and Improving the Accuracy of Winograd
Convolution for Deep Neural Networks", arXiv:1803.10986.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

# By frames made at once: where polynomials are taken, besides infinity. Four frames lose less to
# rounding by these points than by the usual 0, 1, -1, 2, -2.
_POINTS = {2: (0.0, 1.0, -1.0), 4: (0.0, 0.75, -0.75, 1.5, -1.5)}


class Tables(NamedTuple):
    """Weights of sums, one row for each: of frames, of taps, and of what the convolutions give."""

    frames: Float[np.ndarray, "m+2 m+2"]
    taps: Float[np.ndarray, "m+2 3"]
    back: Float[np.ndarray, "m m+2"]


@cache
def tables(m: int) -> Tables:
    """What makes `m` frames at once, 2 or 4: the method of Toom and Cook, transposed."""
    points = np.array(_POINTS[m])
    others = [np.delete(points, i) for i in range(m + 1)]
    scale = [np.prod(p - q) for p, q in zip(points, others, strict=True)]
    # Polynomials that are zero at all points but one, or at all: then infinity is left.
    frames = [*(np.append(np.poly(q)[::-1], 0.0) for q in others), np.poly(points)[::-1]]
    taps = [*(points[:, None] ** np.arange(3) / np.array(scale)[:, None]), np.array([0.0, 0, 1])]
    back = np.append(points ** np.arange(m)[:, None], np.eye(m)[:, -1:], axis=1)
    return Tables(np.stack(frames), np.stack(taps), back)


def convolve_time(
    x: Float[Array, "b f h w c"],
    kernel: Float[Array, "3 kh kw c o"],
    convolve: Callable[[jax.Array, jax.Array], jax.Array],
) -> Float[Array, "b f-2 h2 w2 o"]:
    """Each frame's three taps, its own and the next two frames', in fewer convolutions.

    Four frames are made at a time, then two; a frame that is left over, the first one, is made
    plainly.

    Args:
        x: at least three frames.
        kernel: the taps.
        convolve: gives the frames, each convolved on its own, of frames [b n h w c] and a tap.
    """
    count, start, parts = x.shape[1] - 2, 0, []
    for m in (1, 2, 4):
        end = count if m == 4 else start + (count - start) % (2 * m)
        if end > start:
            make = _plainly if m == 1 else _together
            parts.append(make(x[:, start : end + 2], kernel, convolve, m))
        start = end
    return jnp.concatenate(parts, axis=1) if len(parts) > 1 else parts[0]


def _plainly(
    x: jax.Array, kernel: jax.Array, convolve: Callable[[jax.Array, jax.Array], jax.Array], _: int
) -> jax.Array:
    made = [convolve(x[:, i : i + 1], tap) for i, tap in enumerate(kernel)]
    return made[0] + made[1] + made[2]


def _together(
    x: jax.Array, kernel: jax.Array, convolve: Callable[[jax.Array, jax.Array], jax.Array], m: int
) -> jax.Array:
    """A multiple of `m` frames."""
    weights, count = tables(m), x.shape[1] - 2
    frames = _sums(weights.frames, [x[:, i : i + count - m + 1 : m] for i in range(m + 2)])
    made = [convolve(*given) for given in zip(frames, _sums(weights.taps, kernel), strict=True)]
    y = jnp.stack(_sums(weights.back, made), axis=2)
    return y.reshape(y.shape[0], count, *y.shape[3:])


def _sums(weights: np.ndarray, terms: list[jax.Array] | jax.Array) -> list[jax.Array]:
    """Of each row of weights the sum of the terms that they are not zero for."""
    return [
        sum(float(w) * term for w, term in zip(row, terms, strict=True) if w) for row in weights
    ]
