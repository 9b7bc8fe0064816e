"""Fitted gains: the best gain for an interval under a ridge penalty, in closed form.

The attention profile `s(t) = mean_f Re(g_f exp(-i f t))` is linear in the gain, so the gain that
comes closest to a wanted profile is a ridge regression. Nothing is learned and nothing is tuned
per interval: the regression is one constant matrix for a clip length and a set of frequencies.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from alchemint_jax.errors import ConfigError
from alchemint_jax.rotary.axes import Frequencies
from alchemint_jax.rotary.schemes import Gains, Intervals, split_intervals, whole_gains
from alchemint_jax.scene.clock import WAN_STRIDE, Clock


def coverage(intervals: Intervals, clock: Clock) -> Float[Array, "*batch t"]:
    """Fraction of each latent frame's pixel frames that lie inside an interval.

    The intervals are latent coordinates of a first and a last pixel frame, so in pixels they reach
    half a frame beyond both; a fractional end covers its pixel frame in part, and of several
    intervals the largest part counts.
    """
    start, end, valid = split_intervals(intervals)
    low, high = clock.pixel(start) - 0.5, clock.pixel(end) + 0.5
    pixel = np.arange(clock.frames, dtype=np.float32)
    pixel = pixel.reshape((1,) * start.ndim + (-1,))
    overlap = jnp.minimum(high[..., None], pixel + 0.5) - jnp.maximum(low[..., None], pixel - 0.5)
    inside = jnp.where(valid[..., None], jnp.clip(overlap, 0, 1), 0)
    return clock.latent_coverage(jnp.max(inside, axis=-2, initial=0))


@dataclass(frozen=True)
class FittedRope:
    """Gains whose profile s comes closest to `2 * coverage - 1`: +1 inside, -1 outside.

    They minimise `sum_t (s(t) - target(t))**2 + ridge * mean_f |g_f|**2` over the clip's latent
    frames (in terms of the sum over frequencies the penalty is `ridge / n_freq`), and are then
    scaled to unit mean-square modulus over the temporal pairs, the key norm of plain RoPE.
    Spatial pairs are 1. A smaller ridge follows the target's edges more closely and pays with
    contrast at equal norm; at 0.02 every single interval of the clips in the tests separates fully.

    An interval of less than four pixel frames covers no latent frame but the first in full: its
    target is low everywhere, and the shorter it is the more its gain resembles that of no interval.

    Several intervals make a target with several plateaus. With no interval at all the target is
    -1 everywhere: the gain pushes away from the whole clip.

    Attributes:
        ridge: the penalty.
        stride: pixel frames per latent frame of the autoencoder that the latents are of.
    """

    ridge: float = 0.02
    # Not in the repr, by which committed comparisons tell schemes apart.
    stride: int = field(default=WAN_STRIDE, repr=False)

    def __post_init__(self) -> None:
        if not self.ridge > 0:
            raise ConfigError(f"FittedRope: ridge = {self.ridge}: must be above 0")
        if self.stride < 1:
            raise ConfigError(f"FittedRope: stride = {self.stride}: must be at least 1")

    def gains(self, intervals: Intervals, n_frames: int, freqs: Frequencies) -> Gains:
        """Fitted gains, mean-square modulus 1 over the temporal pairs."""
        clock = Clock.for_latents(n_frames, self.stride)
        target = 2 * coverage(intervals, clock) - 1
        solve = jnp.asarray(self._projection(n_frames, freqs), jnp.float32)
        parts = jnp.einsum("...t,ct->...c", target, solve, precision="highest")
        norm = jnp.sqrt(2 * jnp.mean(parts**2, axis=-1, keepdims=True))
        parts = parts / jnp.maximum(norm, jnp.finfo(jnp.float32).tiny)
        real, imag = jnp.split(parts, 2, axis=-1)
        return whole_gains(jax.lax.complex(real, imag), 1.0, freqs)

    def _projection(self, n_frames: int, freqs: Frequencies) -> Array | np.ndarray:
        # [2 * pairs, n_frames]: target -> (real parts, imaginary parts). Known frequencies are
        # solved in float64 while tracing, so that a compiled step holds a constant.
        known = not isinstance(freqs.t, jax.core.Tracer)
        xp = np if known else jnp
        f = np.asarray(freqs.t, np.float64) if known else jnp.asarray(freqs.t, jnp.float32)
        pairs = f.shape[0]
        angle = np.arange(n_frames, dtype=f.dtype)[:, None] * f[None, :]
        columns = xp.concatenate([xp.cos(angle), xp.sin(angle)], axis=1) / pairs
        # The dual form inverts frames x frames: better conditioned, and small for short clips.
        gram = xp.matmul(columns, columns.T, **({} if known else {"precision": "highest"}))
        eye = np.eye(n_frames, dtype=f.dtype)
        return xp.linalg.solve(gram + (self.ridge / pairs) * eye, columns).T
