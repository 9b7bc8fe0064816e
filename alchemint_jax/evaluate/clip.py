"""Clips that are scored: frames in memory, or in a file that is decoded as they are needed."""

from __future__ import annotations

import functools
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
"""Bytes of decoded frames that a clip keeps: six seconds of 720 rows."""


class Clip:
    """The frames of a video file: an array `[f h w 3]` of which a few are in memory at a time.

    It has a length and a shape, can be gone through frame by frame, and becomes an array by
    `np.asarray`. Its rate is constant: see `annotate.timeline`. Of a short clip all frames are kept
    as they were decoded, for who tracks reads it several times.

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
        self._held: list[Any] = []

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
        if not side or self._bytes > HELD:
            return timeline.frames(self.path, numbers, side)
        if not self._held:
            self._held = [frame for _, frame in timeline.decoded(self.path, range(len(self)))]
        scale = timeline.scaler(side)
        return ((number, scale(self._held[number])) for number in sorted({*numbers}))


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
