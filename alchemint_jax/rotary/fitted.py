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
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from alchemint_jax.errors import ConfigError
from alchemint_jax.rotary.axes import Frequencies
from alchemint_jax.rotary.inlined import inlined
from alchemint_jax.rotary.schemes import Gains, Intervals, split_intervals, whole_gains
from alchemint_jax.scene.clock import WAN_STRIDE, Clock


@inlined("clock")
def coverage(intervals: Intervals, clock: Clock) -> Float[Array, "*batch t"]:
    """Fraction of each latent frame's pixel frames that lie inside an interval.

    The intervals are latent coordinates of a first and a last pixel frame, so in pixels they reach
    half a frame beyond both. A fractional end covers its pixel frame in part, and of several
    intervals the largest part counts.

    Args:
        intervals: latent intervals, `[*batch, m, 2]`; rows with start > end are empty.
        clock: of the clip that the intervals are of.

    Returns:
        Fractions from 0 to 1, float32 `[*batch, t]`.

    Raises:
        ValueError: `intervals` have no axis of intervals.

    Examples:
        >>> from alchemint_jax.scene import Clock
        >>> clock = Clock.for_latents(4, stride=4)
        >>> [round(float(share), 3) for share in al.rotary.coverage(np.array([[1, 2]]), clock)]
        [0.0, 0.625, 0.625, 0.0]

    Source:
        This repository.
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
    frames (in terms of the sum over frequencies the penalty is `ridge / n_freq`). They are then
    scaled to unit mean-square modulus over the temporal pairs, the key norm of plain RoPE. The
    spatial pairs are 1.

    An interval of less than four pixel frames covers no latent frame but the first in full: its
    target is low everywhere, and the shorter it is, the more its gain resembles that of an absent
    subject.
    Several intervals make a target with several plateaus. With no interval at all the target is
    -1 everywhere, and the gain pushes away from the whole clip.

    Attributes:
        ridge: strength of the penalty, above 0. A smaller one follows the edges of the target more
            closely and pays with contrast at equal norm; at 0.02 every single interval of the clips
            in the tests separates fully.
        stride: pixel frames per latent frame of the autoencoder that the latents are of.

    Raises:
        ConfigError: `ridge` is not above 0, or `stride` is below 1.

    Examples:
        Every latent frame inside the interval scores above every one outside:

        >>> freqs = al.rotary.axis_frequencies(head_dim=48, theta_t=20)
        >>> gains = al.rotary.FittedRope().gains(np.array([[2, 5]], np.float32), 9, freqs)
        >>> profile = np.asarray(al.rotary.kernel(gains, 9, freqs))
        >>> bool(profile[3:6].min() > np.delete(profile, [2, 3, 4, 5]).max())
        True

    Source:
        This repository: ridge regression in closed form.
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
        """See `Scheme.gains`; the temporal pairs have mean-square modulus 1."""
        return self._fit(intervals, n_frames, freqs, self._projection(n_frames, freqs))

    @inlined("self", "n_frames")
    def _fit(
        self, intervals: Intervals, n_frames: int, freqs: Frequencies, projection: ArrayLike
    ) -> Gains:
        clock = Clock.for_latents(n_frames, self.stride)
        target = 2 * coverage(intervals, clock) - 1
        solve = jnp.asarray(projection, jnp.float32)
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
