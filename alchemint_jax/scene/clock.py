"""Seconds, pixel frames, latent coordinates: the only place that converts between them.

Three rulers:

* **seconds**: what people write, half-open ``[start, end)``. A clip of n frames at ``fps`` lasts
  ``(n - 1) / fps`` seconds nominally: frame i is the instant ``i / fps``, and an interval that
  reaches the nominal end holds the last frame too.
* **pixel frames**: integers, half-open ``[s, e)``; ``e <= s`` is an empty (padding) row.
* **latent coordinates**: float positions on the latent time axis. Latent frame 0 holds pixel frame
  0 alone; of an autoencoder with stride 4, latent frame i >= 1 holds pixel frames 4i-3 .. 4i, so
  it is centred at 4i - 1.5. The map is piecewise linear through those centres, hence invertible.
  The last pixel frame of a latent frame lies after its centre: pixel frame 4k of a clip of k+1
  latent frames is at k + 0.375.

What takes an array works on NumPy's and on (traced) JAX arrays alike, in their own library.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Float32, Int

from alchemint_jax.scene.spans import Spans

WAN_STRIDE = 4
"""Pixel frames per latent frame of Wan's autoencoders; whoever has one at hand asks its config."""

# What callers may pass for a number: Python's and NumPy's, whole or not.
Count = int | np.integer
Number = Count | float | np.floating
ArrayLike = Any  # lists, NumPy and JAX arrays

_LAST = np.array([0.0, 1.0], np.float32)  # the last frame of [start, end) is end - 1
_EMPTY = np.array([1.0, 0.0], np.float32)
# Guards comparisons in frames against float noise such as 0.1 * 30 = 3.0000000000000004.
_FUZZ = 1e-6


def _nearest(x: Number) -> int:
    """Round half up; Python's round is to even, which would make neighbouring halves unequal."""
    return math.floor(x + 0.5 + _FUZZ)


def _array(values: ArrayLike) -> tuple[Any, Any]:
    """An array and its library: `jax.numpy` for JAX's, also inside jit, and NumPy for the rest."""
    array = values if hasattr(values, "__array_namespace__") else np.asarray(values)
    return array, array.__array_namespace__()


@dataclass(frozen=True)
class Clock:
    """The time of a clip.

    Attributes:
        fps: pixel frames per second.
        frames: pixel frames of the clip.
        stride: pixel frames per latent frame, after the first one: ``temporal_stride`` of the
            autoencoder's config.

    Raises:
        ValueError: one of them is not positive, or not finite.
    """

    fps: Number
    frames: Count
    stride: Count

    def __post_init__(self) -> None:
        if not (math.isfinite(self.fps) and self.fps > 0):
            raise ValueError(f"fps must be a positive number, not {self.fps}")
        for name in ("frames", "stride"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")

    @classmethod
    def for_duration(cls, duration: Number, fps: Number, stride: Count) -> Clock:
        """Of the clip of ``stride * k + 1`` frames whose length is closest to a duration.

        Raises:
            ValueError: the duration is negative or not finite.
        """
        if not (math.isfinite(duration) and duration >= 0):
            raise ValueError(f"duration must be a number of seconds >= 0, not {duration}")
        clock = cls(fps, 1, stride)
        return cls(fps, 1 + stride * _nearest(duration * clock.fps / stride), stride)

    @classmethod
    def for_latents(cls, latent_frames: Count, stride: Count, fps: Number = 1) -> Clock:
        """Of a clip of so many latent frames; where nobody counts seconds, a frame is one."""
        return cls(fps, int(stride) * (int(latent_frames) - 1) + 1, stride)

    # ------------------------------------------------------------- seconds and pixel frames

    @property
    def duration(self) -> float:
        """The nominal length, from the first frame to the last, in seconds."""
        return float((self.frames - 1) / self.fps)

    def second(self, frame: Number) -> float:
        """The instant of a pixel frame, in seconds."""
        return float(frame / self.fps)

    def count(self, seconds: Number) -> int:
        """The number of pixel frames whose time is closest to a length in seconds."""
        return _nearest(seconds * self.fps)

    def spans(self, seconds: Iterable[Iterable[Number]], duration: Number | None = None) -> Spans:
        """The pixel frames of ``[start, end)`` rows of seconds.

        Both ends go to the nearest frame. An end at or past the nominal duration becomes
        ``frames``; so does one at or past ``duration``, if given: the length that the user asked
        for, which the rule of ``stride * k + 1`` may have rounded up. Every row holds at least one
        frame of the clip; rows that then touch are one.

        Raises:
            ValueError: a row is not finite, starts before 0, or does not end after its start.
        """
        last = self.frames - 1
        if duration is not None:
            last = min(last, duration * self.fps)
        rows = []
        for start, end in seconds:
            if not (math.isfinite(start) and math.isfinite(end) and 0 <= start < end):
                raise ValueError(
                    f"[{start}, {end}) is not an interval of seconds with 0 <= start < end"
                )
            s = min(_nearest(start * self.fps), int(self.frames) - 1)
            reaches = end * self.fps >= last - _FUZZ
            e = int(self.frames) if reaches else _nearest(end * self.fps)
            rows.append((s, min(max(e, s + 1), int(self.frames))))
        return Spans(rows)

    def seconds(self, frames: Iterable[Iterable[Count]]) -> Spans:
        """The seconds that `spans` maps back to exactly these pixel frames.

        A boundary at frame i is ``i / fps``, with one exception: ``frames`` is the nominal
        duration, so the boundary before the last frame sits a quarter of a frame earlier.

        Raises:
            ValueError: a span reaches outside the clip.
        """
        spans = Spans(frames)
        for s, e in spans:
            if s < 0 or e > self.frames:
                raise ValueError(f"frames [{s}, {e}) reach outside a clip of {self.frames} frames")
        return Spans((self._boundary(s), self._boundary(e)) for s, e in spans)

    def _boundary(self, frame: Count) -> float:
        if frame == self.frames:
            return self.duration
        return self.second(max(0.0, frame - 0.25 * (frame == self.frames - 1)))

    def frame(self, second: Number) -> int:
        """The pixel frame nearest to an instant, which may be outside of the clip."""
        return _nearest(second * self.fps)

    def instant(self, second: Number, duration: Number | None = None) -> int:
        """The pixel frame of the clip nearest to an instant.

        One at or past the nominal duration, or `duration`, if given, is the last (see `spans`).

        Raises:
            ValueError: it is not finite, or before 0.
        """
        if not (math.isfinite(second) and second >= 0):
            raise ValueError(f"{second} is not an instant of a clip, which begins at 0")
        last = int(self.frames) - 1
        ends = last if duration is None else min(last, duration * self.fps)
        return last if second * self.fps >= ends - _FUZZ else min(self.frame(second), last)

    def at_rate(
        self, fps: Number, start: Count = 0, frames: Count | None = None
    ) -> Int[np.ndarray, " n"]:
        """The pixel frames that show this clip at another rate: each the nearest in time.

        Args:
            fps: frames per second that are wanted.
            start: the first one, counted at that rate.
            frames: how many; None is as many as the clip lasts.
        """
        if frames is None:
            frames = math.floor((self.frames - 1) * fps / self.fps + _FUZZ) + 1 - start
        places = (start + np.arange(frames)) * (self.fps / fps)
        return np.minimum(np.floor(places + 0.5 + _FUZZ).astype(int), int(self.frames) - 1)

    # ------------------------------------------------- pixel frames and latent coordinates

    @classmethod
    def of_latents(cls, fps: Number, frames: Count, latent_frames: Count) -> Clock:
        """Of a clip that is there in pixels and as latents, which say what the stride is.

        One frame does not: it then is that of Wan's autoencoder.
        """
        if latent_frames < 2:
            return cls(fps, frames, WAN_STRIDE)
        return cls(fps, frames, int(frames - 1) // int(latent_frames - 1))

    @property
    def whole(self) -> bool:
        """Whether the pixel frames fill latent frames: there are ``stride * k + 1``."""
        return (self.frames - 1) % self.stride == 0

    @property
    def latent_frames(self) -> int:
        """Number of latent frames.

        Raises:
            ValueError: the pixel frames do not fill them.
        """
        if not self.whole:
            raise ValueError(
                f"a clip must have {self.stride}k+1 frames (1, {1 + self.stride}, ...), "
                f"not {self.frames}"
            )
        return int(self.frames - 1) // int(self.stride) + 1

    def held(self, latents: ArrayLike) -> Int[np.ndarray, "... 2"]:
        """The pixel frames [start, end) that latent frames ``first`` to ``last`` hold.

        Args:
            latents: integers [..., 2]: first and last.
        """
        first, last = np.moveaxis(np.asarray(latents), -1, 0)
        starts = np.maximum(self.stride * (first - 1) + 1, 0)
        return np.stack([starts, self.stride * last + 1], axis=-1)

    def latent_frame(self, frame: Count) -> int:
        """The latent frame that holds a pixel frame."""
        return -(-int(frame) // int(self.stride))

    def coordinate(self, frame: ArrayLike) -> Float[Any, "*shape"]:
        """Latent coordinate of positions in pixel frames, of any shape, fractions allowed.

        Through (0, 0) and the centres of latent frames; extended linearly. Float64 in NumPy.
        """
        p, xp = _array(frame)
        p, centre = xp.asarray(p, dtype=float), (self.stride + 1) / 2  # of latent frame 1
        return xp.where(p <= centre, p / centre, 1 + (p - centre) / self.stride)

    def pixel(self, coordinate: ArrayLike) -> Float[Any, "*shape"]:
        """The position in pixel frames of latent coordinates: the inverse of `coordinate`."""
        u, xp = _array(coordinate)
        u, centre = xp.asarray(u, dtype=float), (self.stride + 1) / 2
        return xp.where(u <= 1, u * centre, centre + (u - 1) * self.stride)

    def latent(self, frames: ArrayLike) -> Float32[Any, "... 2"]:
        """Latent interval ``[L(s), L(e-1)]`` of each half-open interval of pixel frames.

        Args:
            frames: integers [..., 2]; rows with ``e <= s`` are padding.

        Returns:
            float32 [..., 2]; padding rows are (1, 0), which starts after it ends.

        Raises:
            ValueError: the array is of another shape or of another kind of number.
        """
        rows, xp = _array(frames)
        if rows.shape == (0,):  # an empty list or tuple: no intervals
            rows = xp.zeros((0, 2), dtype=np.int32)
        if rows.ndim < 1 or rows.shape[-1] != 2 or rows.dtype.kind not in "iu":
            raise ValueError(f"need integers [..., 2], not {rows.dtype} {list(rows.shape)}")
        pair = (1,) * (rows.ndim - 1) + (2,)
        used = rows[..., 1:] > rows[..., :1]
        # In floats, for an unsigned 0 - 1 would wrap around.
        ends = xp.asarray(rows, dtype=float) - _LAST.reshape(pair)
        return xp.where(used, self.coordinate(ends), _EMPTY.reshape(pair)).astype(np.float32)

    def cut(self, frames: ArrayLike) -> Float32[Any, "*shape"]:
        """Latent coordinate of a cut: half way between the last frame of a shot and the next one.

        Args:
            frames: the pixel frame that begins the next shot, of any shape.
        """
        first, xp = _array(frames)
        return self.coordinate(xp.asarray(first, dtype=float) - 0.5).astype(np.float32)

    def latent_coverage(self, per_frame: Float[Any, "... f"]) -> Float[Any, "... t"]:
        """The mean over the pixel frames that each latent frame holds.

        Raises:
            ValueError: the values are not those of this clip's frames.
        """
        values, xp = _array(per_frame)
        if values.shape[-1] != self.frames:
            raise ValueError(f"{values.shape[-1]} values for a clip of {self.frames} frames")
        first, rest = values[..., :1], values[..., 1:]
        rest = rest.reshape(*rest.shape[:-1], self.latent_frames - 1, self.stride).mean(-1)
        return xp.concatenate([first, rest], axis=-1)
