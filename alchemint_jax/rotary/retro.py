"""ReTRo (TGI, arXiv 2603.17651): frames near the ends of a clip attend more sharply than others.

The released code multiplies the temporal rotations of every video token's query *and* key by a
scale of its latent frame, so the temporal part of a logit between frames i and j is multiplied by
`s_i s_j`: a temperature for each frame. Angles, and with them relative positions, stay as they are.
`sampling.control.Inbetween` gives them to a model while sampling.
"""

from __future__ import annotations

from typing import Any, Literal

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Complex, Float

from alchemint_jax.errors import ConfigError
from alchemint_jax.rotary.axes import Frequencies, rotation
from alchemint_jax.rotary.inlined import inlined


def retro_scales(
    n_frames: int, edge_share: float, edge: float = 1.06, middle: float = 0.94, smooth: int = 2
) -> Float[np.ndarray, " t"]:
    """Scale of each latent frame: `edge` near both ends, else `middle`; then a moving average.

    It is symmetric; the release counts a frame exactly at the edge of its share as near the last
    end, but not the first.

    Args:
        n_frames: latent frames of the clip.
        edge_share: share of the clip, at each end, that counts as near it; the release uses 2, 3,
            6 and 8 pixel frames of 25, 33, 65 and 81.
        edge: scale near the ends.
        middle: scale everywhere else.
        smooth: frames on either side that the average takes in; the outermost are repeated.

    Returns:
        Scales, float32 `[n_frames]`.

    Raises:
        ConfigError: `edge_share` is outside [0, 0.5], or `smooth` is negative.

    Examples:
        >>> [round(float(s), 3) for s in al.rotary.retro_scales(5, edge_share=0.25, smooth=0)]
        [1.06, 0.94, 0.94, 0.94, 1.06]

    Source:
        TGI, arXiv 2603.17651, and its released code.
    """
    if not 0 <= edge_share <= 0.5:
        raise ConfigError(f"retro_scales: edge_share = {edge_share}: must be from 0 to 0.5")
    if smooth < 0:
        raise ConfigError(f"retro_scales: smooth = {smooth}: must not be negative")
    frame = np.arange(n_frames)
    near = np.minimum(frame, frame[::-1]) / max(n_frames - 1, 1) < edge_share
    return smoothed_scales(near, edge, middle, smooth).astype(np.float32)


def smoothed_scales(
    near: Bool[Any, "*batch t"], edge: float, middle: float, smooth: int = 2
) -> Float[Any, "*batch t"]:
    """`edge` where a frame is near one that is given, else `middle`; then the moving average.

    In NumPy or JAX, as `near` is; the other arguments are those of `retro_scales`.
    """
    xp = near.__array_namespace__()
    outside = [(0, 0)] * (near.ndim - 1) + [(smooth, smooth)]
    scales = xp.pad(xp.where(near, edge, middle), outside, mode="edge")
    width, t = 2 * smooth + 1, near.shape[-1]
    return sum(scales[..., i : i + t] for i in range(width)) / width


@inlined("mode")
def retro_gains(
    gains: Complex[Array, "*#batch n half"],
    scales: Float[Array | np.ndarray, "*#batch t"],
    freqs: Frequencies,
    mode: Literal["amplitude", "phase"] = "amplitude",
) -> Complex[Array, "*#batch n half"]:
    """Gains of video tokens with their temporal pairs scaled by the frame that they belong to.

    Args:
        gains: gains of the video's tokens in order of their frames, `[*batch, n, d/2]`.
        scales: from `retro_scales`, `[t]`; or of each sample, `[*batch, t]`.
        freqs: from `axis_frequencies`.
        mode: what is scaled: "amplitude", as in the release, or "phase", the time of each frame
            instead, so that distances between frames change. It is there to be compared with.

    Returns:
        Scaled gains, complex64 `[*batch, n, d/2]`.

    Raises:
        ConfigError: the tokens do not divide into as many frames as there are scales.

    Examples:
        >>> freqs = al.rotary.axis_frequencies(head_dim=48)
        >>> gains = al.rotary.video_gains(freqs, (2, 1, 1))
        >>> scaled = al.rotary.retro_gains(gains, np.array([1.0, 2.0]), freqs)
        >>> np.abs(scaled[0, :, 0]).round(3).tolist(), np.abs(scaled[0, :, -1]).round(3).tolist()
        ([1.0, 2.0], [1.0, 1.0])

    Source:
        TGI, arXiv 2603.17651, and its released code.
    """
    n, frames = gains.shape[-2], scales.shape[-1]
    if n % frames:
        raise ConfigError(f"retro_gains: {n} tokens do not divide into {frames} frames")
    scales = jnp.asarray(scales)
    scales = scales.reshape((1,) * (gains.ndim - 1 - scales.ndim) + scales.shape)
    pairs = freqs.t.shape[0]
    if mode == "phase":
        moved = (scales - 1) * jnp.arange(frames, dtype=scales.dtype)[(None,) * (scales.ndim - 1)]
        temporal = rotation(moved, freqs.t)
    else:
        temporal = jnp.repeat(scales[..., None], pairs, axis=-1)
    others = jnp.ones((*scales.shape, gains.shape[-1] - pairs), temporal.dtype)
    table = jnp.concatenate([temporal, others], axis=-1)
    return gains * jnp.repeat(table, n // frames, axis=-2)
