"""ReRoPE (MinT): dense captions share a clip's frames by warped time, not by distance.

Each event's span is rescaled to one length, so that a frame is closest to the caption of its own
event however long its neighbours last, and at a transition equally close to both. This rotates
the cross-attention between video tokens (queries) and event captions (keys).
"""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float

from alchemint_jax.rotary.axes import Frequencies, rotation
from alchemint_jax.rotary.schemes import Intervals, split_intervals, whole_gains


def rerope_times(
    events: Intervals, n_frames: int, length: float | int = 8
) -> Float[Array, "*batch t"]:
    """Warped time of each latent frame: `(t - start_n) / (end_n - start_n) * L + (n - 1) L`.

    `events` are latent intervals without overlap (MinT section 3), in any order; rows with start
    above end are padding. A frame in no event takes the nearest event's edge: both edges of a
    gap between two events are the same warped time, so nothing depends on the gap's length.
    An event of a single instant is a step, half way up at that instant.
    """
    start, end, valid = split_intervals(events)
    frames = np.arange(n_frames, dtype=np.float32).reshape((1,) * start.ndim + (-1,))
    # Every event adds its own progress, 0 .. 1: the sum is the piecewise-linear map above.
    middle = ((start + end) / 2)[..., None]
    progress = jnp.clip((frames - middle) / jnp.maximum(end - start, 1e-4)[..., None] + 0.5, 0, 1)
    return length * jnp.sum(jnp.where(valid[..., None], progress, 0), axis=-2)


def rerope_query_gains(
    events: Intervals, n_frames: int, freqs: Frequencies, length: float | int = 8
) -> Complex[Array, "*batch t half"]:
    """Gain of each latent frame's video tokens at its warped time; spatial pairs 1."""
    return whole_gains(rotation(rerope_times(events, n_frames, length), freqs.t), 1.0, freqs)


def rerope_key_gains(
    events: Intervals, freqs: Frequencies, length: float | int = 8
) -> Complex[Array, "*batch m half"]:
    """Gain of each event's caption at its midpoint `(n - 1/2) L`; spatial pairs 1.

    n numbers the events that are not padding in order of time (of row, if alike). The gain of a
    padded row means nothing; its caption has to be masked out by the caller.
    """
    start, end, valid = split_intervals(events)
    # An instant comes before an event that starts at it, padding last.
    order = jnp.lexsort((end, jnp.where(valid, start, jnp.inf)))
    before = jnp.argsort(order, axis=-1)
    return whole_gains(rotation((before + 0.5) * length, freqs.t), 1.0, freqs)
