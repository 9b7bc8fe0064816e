"""Clips that are scored: frames in memory, or in a file that is decoded as they are needed."""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from alchemint_jax.annotate import timeline
from alchemint_jax.perceive.pixels import resize

Frames = Iterable[tuple[int, np.ndarray]]
HELD = 256 * 2**20
"""Bytes of frames that a clip keeps once they are decoded: six seconds of 720 rows."""


class Clip:
    """The frames of a video file: an array `[f h w 3]` of which a few are in memory at a time.

    It has a length and a shape, can be gone through frame by frame, and becomes an array by
    `np.asarray`. Its rate is constant: see `annotate.timeline`. All frames of a short clip are
    kept, for a tracker reads it several times: as they were decoded, so that only those are scaled
    down that are looked at, or scaled down to the last side if that takes too much memory.

    Args:
        path: of the video.
        side: longest side to which frames are scaled down; 0 leaves them as they are.

    Attributes:
        path: of the video.
        fps: frames per second.
        size: height and width in the file.
        remarks: what is odd about the file, sentences.
        plays: whether browsers show these frames if they are given the file.

    Raises:
        DataError: it is no video, or damaged.
    """

    def __init__(self, path: str | os.PathLike[str], side: int = 0):
        line = timeline.timeline(path)
        self.path, self.fps, self.size = Path(path), line.fps, line.size
        self.remarks = line.remarks
        is_mp4 = self.path.suffix.lower() in (".mp4", ".m4v")
        coded = (line.codec, line.pixels) == ("h264", "yuv420p")
        self.plays = is_mp4 and coded and line.even and not line.remarks
        self._frames, self._side = len(line.stamps), side
        self._bytes = len(self) * line.held
        self._held: tuple[int, list[Any]] = (-1, [])  # their side, 0 if as they were decoded

    def __len__(self) -> int:
        return self._frames

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Frames, height, width and channels."""
        return (self._frames, *timeline.fitted(self.size, self._side), 3)

    def __iter__(self) -> Iterator[UInt8[np.ndarray, "h w 3"]]:
        return (frame for _, frame in self.read(range(self._frames)))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.stack(list(self)).astype(dtype or np.uint8, copy=False)

    def read(self, numbers: Iterable[int], side: int = 0) -> Frames:
        """Frames by number, in order, scaled down to the smaller one of both sides."""
        side = min([one for one in (side, self._side) if one], default=0)
        scaled = 3 * len(self) * math.prod(timeline.fitted(self.size, side))
        if not side or min(self._bytes, scaled) > HELD:
            return timeline.frames(self.path, numbers, side)
        wanted, every = sorted({*numbers}), range(len(self))
        if self._bytes > HELD:
            if self._held[0] != side:
                self._held = side, [f for _, f in timeline.frames(self.path, every, side)]
            return ((number, self._held[1][number]) for number in wanted)
        if self._held[0] != 0:
            self._held = 0, [f for _, f in timeline.decoded(self.path, every)]
        scale = timeline.scaler(side)
        return ((number, scale(self._held[1][number])) for number in wanted)


Video = UInt8[np.ndarray, "f h w 3"] | Clip


def read(video: Video, numbers: Iterable[int], side: int = 0) -> Frames:
    """Frames of a clip by number, in order; each wanted number comes once.

    Args:
        video: the clip.
        numbers: of frames.
        side: longest side to which frames are scaled down; 0 leaves them as they are.
    """
    if isinstance(video, Clip):
        yield from video.read(numbers, side)
        return
    height, width = timeline.fitted(video.shape[1:3], side)
    for number in sorted({*numbers}):
        frame = video[number]
        same = frame.shape[:2] == (height, width)
        yield number, frame if same else resize(frame, height, width)


def reader(video: Video) -> functools.partial[Frames]:
    """`read` of one clip."""
    return functools.partial(read, video)
