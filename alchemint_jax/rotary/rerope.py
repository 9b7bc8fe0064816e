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
from alchemint_jax.rotary.inlined import inlined
from alchemint_jax.rotary.schemes import Intervals, split_intervals, whole_gains


@inlined("n_frames", "length")
def rerope_times(
    events: Intervals, n_frames: int, length: float | int = 8
) -> Float[Array, "*batch t"]:
    """Warped time of each latent frame: `(t - start_n) / (end_n - start_n) * L + (n - 1) L`.

    A frame in no event takes the nearest event's edge: both edges of a gap between two events are
    the same warped time, so nothing depends on the length of the gap. An event of a single instant
    is a step, half way up at that instant.

    Args:
        events: latent intervals that do not overlap, in any order, `[*batch, m, 2]`; rows with
            start above end are padding.
        n_frames: latent frames of the clip.
        length: warped time L that every event gets, in latent frames.

    Returns:
        Warped times, float32 `[*batch, n_frames]`.

    Raises:
        ValueError: `events` have no axis of events.

    Examples:
        >>> events = np.array([[0, 1], [1, 4]], np.float32)
        >>> [round(float(time), 3) for time in al.rotary.rerope_times(events, 5, length=6)]
        [0.0, 6.0, 8.0, 10.0, 12.0]

    Source:
        MinT, arXiv 2412.05263, section 3.
    """
    frames = np.arange(n_frames, dtype=np.float32)
    return _warped(events, frames.reshape((1,) * (np.ndim(events) - 1) + (-1,)), length)


@inlined("length")
def _warped(
    events: Intervals, times: Float[Array | np.ndarray, "*#batch 1 t"], length: float | int
) -> Float[Array, "*batch t"]:
    """`rerope_times` of any latent times."""
    start, end, valid = split_intervals(events)
    # Every event adds its own progress, 0 .. 1: the sum is the piecewise-linear map above.
    middle = ((start + end) / 2)[..., None]
    progress = jnp.clip((times - middle) / jnp.maximum(end - start, 1e-4)[..., None] + 0.5, 0, 1)
    return length * jnp.sum(jnp.where(valid[..., None], progress, 0), axis=-2)


@inlined("n_frames", "length")
def rerope_query_gains(
    events: Intervals, n_frames: int, freqs: Frequencies, length: float | int = 8
) -> Complex[Array, "*batch t half"]:
    """Gain of each latent frame's video tokens at its warped time.

    Args:
        events: as for `rerope_times`, `[*batch, m, 2]`.
        n_frames: latent frames of the clip.
        freqs: from `axis_frequencies`.
        length: warped time of an event, in latent frames.

    Returns:
        Gains of the queries, complex64 `[*batch, n_frames, d/2]`; the spatial pairs are 1.

    Raises:
        ValueError: `events` have no axis of events.

    Examples:
        >>> freqs = al.rotary.axis_frequencies(head_dim=48)
        >>> al.rotary.rerope_query_gains(np.array([[0, 4], [4, 8]]), 9, freqs).shape
        (9, 24)

    Source:
        MinT, arXiv 2412.05263, section 3.
    """
    return whole_gains(rotation(rerope_times(events, n_frames, length), freqs.t), 1.0, freqs)


@inlined("length")
def rerope_key_gains(
    events: Intervals, freqs: Frequencies, length: float | int = 8
) -> Complex[Array, "*batch m half"]:
    """Gain of each event's caption at its midpoint `(n - 1/2) L`.

    n numbers the events that are not padding in order of time (of row, if alike). The gain of a
    padded row means nothing; its caption has to be masked out by the caller.

    Args:
        events: as for `rerope_times`, `[*batch, m, 2]`.
        freqs: from `axis_frequencies`.
        length: warped time of an event, in latent frames.

    Returns:
        Gains of the keys, complex64 `[*batch, m, d/2]`; the spatial pairs are 1.

    Raises:
        ValueError: `events` have no axis of events.

    Examples:
        >>> freqs = al.rotary.axis_frequencies(head_dim=48)
        >>> al.rotary.rerope_key_gains(np.array([[0, 4], [4, 8]]), freqs).shape
        (2, 24)

    Source:
        MinT, arXiv 2412.05263, section 3.
    """
    start, end, valid = split_intervals(events)
    # An instant comes before an event that starts at it, padding last.
    order = jnp.lexsort((end, jnp.where(valid, start, jnp.inf)))
    before = jnp.argsort(order, axis=-1)
    return whole_gains(rotation((before + 0.5) * length, freqs.t), 1.0, freqs)


@inlined("length")
def rerope_cut_gains(
    cuts: Float[Array | np.ndarray, "*batch c"],
    events: Intervals,
    freqs: Frequencies,
    length: float | int = 8,
) -> Complex[Array, "*batch c half"]:
    """Gain of each scene cut at its own warped time.

    A cut is an instant, not a span: it lies where the frames beside it lie, so that only their
    distance to it says on which side of it they are.

    Args:
        cuts: latent times, `[*batch, c]`; the caller masks out those that are padding.
        events: as for `rerope_times`, `[*batch, m, 2]`.
        freqs: from `axis_frequencies`.
        length: warped time of an event, in latent frames.

    Returns:
        Gains of the keys, complex64 `[*batch, c, d/2]`; the spatial pairs are 1.

    Raises:
        ValueError: `events` have no axis of events.

    Examples:
        >>> freqs = al.rotary.axis_frequencies(head_dim=48)
        >>> events = np.array([[0, 4], [4, 8]], np.float32)
        >>> gains = al.rotary.rerope_cut_gains(np.array([3.5], np.float32), events, freqs)
        >>> gains.shape
        (1, 24)

    Source:
        MinT, arXiv 2412.05263, section 3.
    """
    times = _warped(events, jnp.asarray(cuts)[..., None, :], length)
    return whole_gains(rotation(times, freqs.t), 1.0, freqs)
