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
from alchemint_jax.rotary.inlined import inlined


class Frequencies(NamedTuple):
    """Angular frequencies of a head's pairs, in radians per unit of position, float32.

    Attributes:
        t: those that turn with the latent frame, `[pairs_t]`.
        h: those that turn with the row of the patch grid, `[pairs_h]`.
        w: those that turn with its column, `[pairs_w]`.

    Examples:
        >>> freqs = al.rotary.axis_frequencies(head_dim=128)
        >>> [len(axis) for axis in freqs]
        [22, 21, 21]

    Source:
        RoFormer, arXiv 2104.09864, on three axes as in Wan2.1, arXiv 2503.20314.
    """

    t: Float[Array | np.ndarray, " pairs_t"]
    h: Float[Array | np.ndarray, " pairs_h"]
    w: Float[Array | np.ndarray, " pairs_w"]


def axis_frequencies(
    head_dim: int, theta_t: float | int = 1e4, theta_hw: float | int = 1e4
) -> Frequencies:
    """Splits a head as Wan does: `2 * (head_dim // 6)` dims for h and for w, the rest for t.

    Each axis of `dim` dims has the ladder `theta ** (-2 i / dim)`, i < dim / 2. Wan uses 1e4
    throughout; on short clips with few temporal dims most of that ladder hardly turns, and a
    smaller `theta_t` gives intervals much more contrast.

    Args:
        head_dim: dimensions of an attention head, even and at least 6.
        theta_t: base of the temporal ladder.
        theta_hw: base of both spatial ladders.

    Returns:
        Frequencies in radians per latent frame, row and column, float32.

    Raises:
        ConfigError: `head_dim` is odd or below 6, or a theta is not above 0.

    Examples:
        >>> freqs = al.rotary.axis_frequencies(head_dim=12, theta_t=100)
        >>> [round(float(f), 3) for f in freqs.t]
        [1.0, 0.1]

    Source:
        RoFormer, arXiv 2104.09864, section 3.2.2; the split is that of Wan2.1.
    """
    if head_dim < 6 or head_dim % 2:
        raise ConfigError(f"head_dim = {head_dim}: rotary needs an even head_dim of at least 6")
    if not (theta_t > 0 and theta_hw > 0):
        raise ConfigError(f"theta_t = {theta_t}, theta_hw = {theta_hw}: must be above 0")
    dim_hw = 2 * (head_dim // 6)
    dim_t = head_dim - 2 * dim_hw
    space = _ladder(dim_hw, theta_hw)
    return Frequencies(_ladder(dim_t, theta_t), space, space)


def _ladder(dim: int, theta: float | int) -> Float[np.ndarray, " pairs"]:
    exponents = -np.arange(0, dim, 2, dtype=np.float64) / dim
    return (float(theta) ** exponents).astype(np.float32)


@inlined()
def rotation(
    positions: ArrayLike, freqs_1d: Float[Array | np.ndarray, " pairs"]
) -> Complex[Array, "*shape pairs"]:
    """The rotation `e(p; f) = exp(i p f)` of every position at every frequency.

    Args:
        positions: of any shape, in latent frames, rows or columns; they may be fractional.
        freqs_1d: frequencies of one axis, `[pairs]`, in radians per unit of position.

    Returns:
        Complex numbers of modulus 1, complex64 `[*shape, pairs]`.

    Raises:
        ValueError: `positions` are not numbers.

    Examples:
        >>> turns = al.rotary.rotation(np.array([0, np.pi]), np.array([1.0]))
        >>> np.real(turns).round(3).tolist()
        [[1.0], [-1.0]]

    Source:
        RoFormer, arXiv 2104.09864, section 3.2.
    """
    p = jnp.asarray(positions, jnp.float32)[..., None]
    f = jnp.asarray(freqs_1d, jnp.float32).reshape((1,) * (p.ndim - 1) + (-1,))
    angle = p * f
    return jax.lax.complex(jnp.cos(angle), jnp.sin(angle))


@inlined()
def spatial_gains(
    rows: Real[Array | np.ndarray, "*shape"],
    columns: Real[Array | np.ndarray, "*shape"],
    freqs: Frequencies,
) -> Complex[Array, "*shape half"]:
    """Whole gains of tokens at (row, column) and time 0: the temporal pairs are 1."""
    temporal = jnp.ones((*rows.shape, freqs.t.shape[0]), jnp.complex64)
    return jnp.concatenate([temporal, rotation(rows, freqs.h), rotation(columns, freqs.w)], -1)


@inlined("t", "h", "w")
def grid_gains(
    t: int,
    h: int,
    w: int,
    freqs: Frequencies,
    t0: ArrayLike = 0,
    h0: ArrayLike = 0,
    w0: ArrayLike = 0,
) -> Complex[Array, "n half"]:
    """Gains of a `t x h x w` grid of tokens in row-major order, its corner at (t0, h0, w0).

    Args:
        t: latent frames of the grid.
        h: its rows.
        w: its columns.
        freqs: from `axis_frequencies`.
        t0: latent frame of the first token; it may be fractional.
        h0: its row.
        w0: its column.

    Returns:
        Gains `e(t) (+) e(h) (+) e(w)`, complex64 `[t * h * w, d/2]`.

    Raises:
        TypeError: a size of the grid is not a whole number.

    Examples:
        >>> freqs = al.rotary.axis_frequencies(head_dim=12)
        >>> al.rotary.grid_gains(2, 3, 4, freqs).shape
        (24, 6)

    Source:
        The rotary positions of Wan2.1, arXiv 2503.20314.
    """
    axes = []
    for axis, (size, start, f) in enumerate(zip((t, h, w), (t0, h0, w0), freqs, strict=True)):
        turn = rotation(jnp.arange(size, dtype=jnp.float32) + start, f)
        shape = [1, 1, 1, f.shape[0]]
        shape[axis] = size
        axes.append(jnp.broadcast_to(turn.reshape(shape), (t, h, w, f.shape[0])))
    return jnp.concatenate(axes, axis=-1).reshape(t * h * w, -1)


@inlined("n_frames")
def kernel(
    gains: Complex[Array | np.ndarray, "*batch pairs"], n_frames: int, freqs: Frequencies
) -> Float[Array, "*batch t"]:
    """Attention profile over time: `s(t) = mean_f Re(g_f exp(-i f t))`, t = 0 .. n_frames - 1.

    It is the expected score, per temporal pair, between a video token of latent frame t and a
    token with gain g when query and key agree in content. It is 1 for plain RoPE at the same time.

    Args:
        gains: gains with the temporal pairs first, `[*batch, pairs]`; further (spatial) pairs are
            ignored.
        n_frames: latent frames of the clip.
        freqs: from `axis_frequencies`.

    Returns:
        The profile, float32 `[*batch, n_frames]`.

    Raises:
        ValueError: `gains` have fewer pairs than there are temporal frequencies.

    Examples:
        A token of latent frame 3 attends to its own time most:

        >>> freqs = al.rotary.axis_frequencies(head_dim=48, theta_t=20)
        >>> profile = al.rotary.kernel(al.rotary.rotation(3, freqs.t), 9, freqs)
        >>> int(profile.argmax()), round(float(profile.max()), 3)
        (3, 1.0)

    Source:
        The expectation of RoFormer's score (arXiv 2104.09864, section 3.4.3) over contents.
    """
    pairs = freqs.t.shape[0]
    g = jnp.asarray(gains)[..., :pairs]
    turn = rotation(np.arange(n_frames, dtype=np.float32), freqs.t)
    parts = jnp.concatenate([g.real, g.imag], axis=-1)
    columns = jnp.concatenate([turn.real, turn.imag], axis=-1) / pairs
    return jnp.einsum("...c,tc->...t", parts, columns, precision="highest")
