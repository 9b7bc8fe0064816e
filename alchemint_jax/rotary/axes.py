"""Axis frequencies, rotations and grids: the plain three-dimensional RoPE of the video tokens.

A gain is a complex vector of length d/2, one number per interleaved pair of a head, ordered
``[temporal | height | width]``. Attention multiplies queries and keys by it (`apply_gains`).
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Complex, Float, Real

from alchemint_jax.errors import ConfigError


class Frequencies(NamedTuple):
    """Angular frequencies of a head's pairs, in radians per unit position, float32.

    `t` turns with the latent frame, `h` with the row and `w` with the column of the patch grid.
    """

    t: Float[Array | np.ndarray, " pairs_t"]
    h: Float[Array | np.ndarray, " pairs_h"]
    w: Float[Array | np.ndarray, " pairs_w"]


def axis_frequencies(
    head_dim: int, theta_t: float | int = 1e4, theta_hw: float | int = 1e4
) -> Frequencies:
    """Wan's split of a head: `2 * (head_dim // 6)` dims for h and for w, the rest for t.

    Each axis of `dim` dims has the ladder `theta ** (-2 i / dim)`, i < dim / 2. Wan uses 1e4
    throughout; on short clips with few temporal dims most of that ladder hardly turns, and a
    smaller `theta_t` gives intervals much more contrast.

    Raises:
        ConfigError: `head_dim` is odd or below 6, or a theta is not above 0.
    """
    if head_dim < 6 or head_dim % 2:
        raise ConfigError(f"head_dim = {head_dim}: rotary needs an even head_dim of at least 6")
    if not (theta_t > 0 and theta_hw > 0):
        raise ConfigError(f"theta_t = {theta_t}, theta_hw = {theta_hw}: must be above 0")
    dim_hw = 2 * (head_dim // 6)
    dim_t = head_dim - 2 * dim_hw

    def ladder(dim: int, theta: float | int) -> np.ndarray:
        exponents = -np.arange(0, dim, 2, dtype=np.float64) / dim
        return (float(theta) ** exponents).astype(np.float32)

    return Frequencies(ladder(dim_t, theta_t), ladder(dim_hw, theta_hw), ladder(dim_hw, theta_hw))


def rotation(
    positions: ArrayLike, freqs_1d: Float[Array | np.ndarray, " pairs"]
) -> Complex[Array, "*shape pairs"]:
    """`e(p; f) = exp(i p f)` for every position (any shape, may be fractional) and frequency."""
    p = jnp.asarray(positions, jnp.float32)[..., None]
    f = jnp.asarray(freqs_1d, jnp.float32).reshape((1,) * (p.ndim - 1) + (-1,))
    angle = p * f
    return jax.lax.complex(jnp.cos(angle), jnp.sin(angle))


def spatial_gains(
    rows: Real[Array | np.ndarray, "*shape"],
    columns: Real[Array | np.ndarray, "*shape"],
    freqs: Frequencies,
) -> Complex[Array, "*shape half"]:
    """Whole gains of tokens at (row, column) and time 0: the temporal pairs are 1."""
    temporal = jnp.ones((*rows.shape, freqs.t.shape[0]), jnp.complex64)
    return jnp.concatenate([temporal, rotation(rows, freqs.h), rotation(columns, freqs.w)], -1)


def grid_gains(
    t: int,
    h: int,
    w: int,
    freqs: Frequencies,
    t0: ArrayLike = 0,
    h0: ArrayLike = 0,
    w0: ArrayLike = 0,
) -> Complex[Array, "n half"]:
    """Gains of a `t x h x w` grid of tokens in row-major order, its corner at (t0, h0, w0)."""
    axes = []
    for axis, (size, start, f) in enumerate(zip((t, h, w), (t0, h0, w0), freqs, strict=True)):
        turn = rotation(jnp.arange(size, dtype=jnp.float32) + start, f)
        shape = [1, 1, 1, f.shape[0]]
        shape[axis] = size
        axes.append(jnp.broadcast_to(turn.reshape(shape), (t, h, w, f.shape[0])))
    return jnp.concatenate(axes, axis=-1).reshape(t * h * w, -1)


def kernel(
    gains: Complex[Array | np.ndarray, "*batch pairs"], n_frames: int, freqs: Frequencies
) -> Float[Array, "*batch t"]:
    """Attention profile over time: `s(t) = mean_f Re(g_f exp(-i f t))`, t = 0 .. n_frames - 1.

    It is the expected score, per temporal pair, between a video token of latent frame t and a
    token with gain g when query and key agree in content (1 for plain RoPE at the same time).
    `gains` holds the temporal pairs first; further (spatial) pairs are ignored.
    """
    pairs = freqs.t.shape[0]
    g = jnp.asarray(gains)[..., :pairs]
    turn = rotation(np.arange(n_frames, dtype=np.float32), freqs.t)
    parts = jnp.concatenate([g.real, g.imag], axis=-1)
    columns = jnp.concatenate([turn.real, turn.imag], axis=-1) / pairs
    return jnp.einsum("...c,tc->...t", parts, columns, precision="highest")
