"""Time on screen: seconds <-> pixel frames <-> latent coordinates. The only place that converts.

Three rulers:

* **seconds**: what people write, half-open ``[start, end)``. A clip of n frames at ``fps`` lasts
  ``(n - 1) / fps`` seconds nominally: frame i is the instant ``i / fps``, and an interval that
  reaches the nominal end holds the last frame too.
* **pixel frames**: integers, half-open ``[s, e)``; ``e <= s`` is an empty (padding) row.
* **latent coordinates**: float positions on the latent time axis. Latent frame 0 holds pixel frame
  0 alone; latent frame i >= 1 holds pixel frames 4i-3 .. 4i, so it is centred at 4i - 1.5. The map
  is piecewise linear through those centres, hence invertible. The last pixel frame of a latent
  frame lies after its centre: pixel frame 4k of a clip of k+1 latent frames is at k + 0.375.

NumPy only, float64 inside: these are host-side tables, made once per sample. ``stride`` is the
number of pixel frames per latent frame, 4 for Wan's VAE.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
from jaxtyping import Float, Float32

# What callers may pass for a number: Python's and NumPy's, whole or not.
Count = int | np.integer
Number = Count | float | np.floating
ArrayLike = Any  # whatever np.asarray takes: lists, NumPy and JAX arrays

STRIDE = 4
# Guards comparisons in frames against float noise such as 0.1 * 30 = 3.0000000000000004.
_FUZZ = 1e-6


def _nearest(x: Number) -> int:
    """Round half up; Python's round is to even, which would make neighbouring halves unequal."""
    return math.floor(x + 0.5 + _FUZZ)


def _check(fps: Number, n_frames: Count) -> None:
    if not (math.isfinite(fps) and fps > 0):
        raise ValueError(f"fps must be a positive number, not {fps}")
    if n_frames < 1:
        raise ValueError(f"n_frames must be at least 1, not {n_frames}")


def frames_for(duration: Number, fps: Number, *, stride: int = STRIDE) -> int:
    """Number of pixel frames, ``stride * k + 1``, closest to ``duration`` seconds at ``fps``."""
    _check(fps, 1)
    if not (math.isfinite(duration) and duration >= 0):
        raise ValueError(f"duration must be a number of seconds >= 0, not {duration}")
    return 1 + stride * _nearest(duration * fps / stride)


def latent_frames(n_frames: Count, *, stride: int = STRIDE) -> int:
    """Number of latent frames, k + 1, of a clip of ``stride * k + 1`` pixel frames."""
    if n_frames < 1 or (n_frames - 1) % stride:
        raise ValueError(f"n_frames must be {stride}k+1 (1, {1 + stride}, ...), not {n_frames}")
    return int(n_frames - 1) // stride + 1


def seconds_to_frames(
    intervals: Iterable[Iterable[Number]],
    fps: Number,
    n_frames: Count,
    *,
    duration: Number | None = None,
) -> tuple[tuple[int, int], ...]:
    """Pixel-frame interval of each ``[start, end)`` in seconds, one for one, in order.

    Both ends go to the nearest frame. An end at or past the nominal duration ``(n_frames-1)/fps``
    becomes ``n_frames``; so does one at or past ``duration``, if given: the length that the user
    asked for, which the 4k+1 rule may have rounded up. Every result holds at least one frame of
    the clip.

    Raises:
        ValueError: an interval is not finite, starts before 0, or does not end after its start.
    """
    _check(fps, n_frames)
    last = n_frames - 1 if duration is None else min(n_frames - 1, duration * fps)
    rows = []
    for start, end in intervals:
        if not (math.isfinite(start) and math.isfinite(end) and 0 <= start < end):
            raise ValueError(
                f"[{start}, {end}) is not an interval of seconds with 0 <= start < end"
            )
        s = min(_nearest(start * fps), int(n_frames) - 1)
        e = int(n_frames) if end * fps >= last - _FUZZ else _nearest(end * fps)
        rows.append((s, min(max(e, s + 1), int(n_frames))))
    return tuple(rows)


def frames_to_seconds(
    frames: Iterable[Iterable[Count]], fps: Number, n_frames: Count
) -> tuple[tuple[float, float], ...]:
    """Seconds that ``seconds_to_frames`` maps back to exactly these pixel-frame intervals.

    A boundary at frame i is ``i / fps``, with one exception: ``n_frames`` is the nominal duration
    ``(n_frames-1)/fps``, so the boundary before the last frame sits a quarter of a frame earlier.
    Empty rows are left out.

    Raises:
        ValueError: an interval reaches outside the clip.
    """
    _check(fps, n_frames)

    def seconds(boundary: Count) -> float:
        if boundary == n_frames:
            return float((n_frames - 1) / fps)
        return float(max(0.0, boundary - 0.25 * (boundary == n_frames - 1)) / fps)

    rows = []
    for s, e in frames:
        if e <= s:
            continue
        if s < 0 or e > n_frames:
            raise ValueError(f"frames [{s}, {e}) reach outside a clip of {n_frames} frames")
        rows.append((seconds(s), seconds(e)))
    return tuple(rows)


def merge_intervals(intervals: Iterable[Iterable[Number]]) -> tuple[tuple[Any, Any], ...]:
    """Sorted, disjoint intervals covering the same time; those that touch become one.

    Works on seconds and on frames alike (integers stay integers). Empty rows are left out.
    """
    merged: list[tuple[Any, Any]] = []
    for start, end in sorted((s, e) for s, e in intervals if e > s):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], end))
        else:
            merged.append((start, end))
    return tuple(merged)


def latent_coordinate(frame: ArrayLike, *, stride: int = STRIDE) -> Float[np.ndarray, "*shape"]:
    """Latent coordinate of pixel-frame positions (any shape, fractions allowed), float64.

    Through (0, 0) and the centres (stride*i - (stride-1)/2, i), i >= 1; extended linearly.
    """
    p = np.asarray(frame, np.float64)
    centre = (stride + 1) / 2  # of latent frame 1
    return np.asarray(np.where(p <= centre, p / centre, (p + (stride - 1) / 2) / stride))


def pixel_coordinate(latent: ArrayLike, *, stride: int = STRIDE) -> Float[np.ndarray, "*shape"]:
    """Pixel-frame position of latent coordinates, float64; the inverse of latent_coordinate."""
    u = np.asarray(latent, np.float64)
    centre = (stride + 1) / 2
    return np.asarray(np.where(u <= 1, u * centre, stride * u - (stride - 1) / 2))


def latent_intervals(frames: ArrayLike, *, stride: int = STRIDE) -> Float32[np.ndarray, "... 2"]:
    """Latent interval ``[L(s), L(e-1)]`` of each half-open pixel-frame interval ``[s, e)``.

    Args:
        frames: integers, shape [..., 2]; rows with ``e <= s`` are padding.
        stride: pixel frames per latent frame.

    Returns:
        float32 [..., 2]; padding rows are (1, 0), which starts after it ends.
    """
    rows = np.asarray(frames)
    if rows.shape == (0,):  # an empty list or tuple: no intervals
        rows = np.zeros((0, 2), np.int32)
    if rows.ndim < 1 or rows.shape[-1] != 2 or not np.issubdtype(rows.dtype, np.integer):
        raise ValueError(f"need integers [..., 2], not {rows.dtype} {list(rows.shape)}")
    # An unsigned 0 - 1 would wrap around.
    ends = np.stack([rows[..., 0], rows[..., 1].astype(np.int64) - 1], axis=-1)
    empty = (rows[..., 1] <= rows[..., 0])[..., None]
    latent = latent_coordinate(ends, stride=stride)
    return np.where(empty, np.array([1.0, 0.0]), latent).astype(np.float32)
