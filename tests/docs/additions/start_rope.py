"""A scheme of one's own: the guide shows this file, and a test runs it."""

from __future__ import annotations

from dataclasses import dataclass

import jax.numpy as jnp

from alchemint_jax.rotary.axes import Frequencies, rotation
from alchemint_jax.rotary.schemes import Gains, Intervals, split_intervals, whole_gains


@dataclass(frozen=True)
class StartRope:
    """The rotation of the moment at which a subject first appears, `delay` latent frames later.

    Attributes:
        delay: latent frames from the first start to the anchor.

    Examples:
        >>> freqs = al.rotary.axis_frequencies(head_dim=48, theta_t=20)
        >>> gains = al.rotary.SCHEMES["StartRope"]().gains(np.array([[3.0, 7.0]]), 9, freqs)
        >>> int(al.rotary.kernel(gains, 9, freqs).argmax())
        3

    Source:
        This guide: g = e(t0 + delay).
    """

    delay: float = 0.0

    def gains(self, intervals: Intervals, n_frames: int, freqs: Frequencies) -> Gains:
        """See `Scheme.gains`; the spatial pairs are 1."""
        start, _, valid = split_intervals(intervals)
        first = jnp.min(jnp.where(valid, start, n_frames), axis=-1, initial=n_frames)
        turned = rotation(first + self.delay, freqs.t)
        shown = jnp.any(valid, axis=-1)[..., None]  # an absent subject prefers no frame
        return whole_gains(jnp.where(shown, turned, 0), 1.0, freqs)
