"""Which part of a clip is trained on at which size: few shapes, so that few steps are compiled."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from alchemint_jax.errors import ConfigError

LARGER = 1.25
"""How many times as large as they are frames may be drawn, along each side, if there is a choice.
"""


@dataclass(frozen=True, order=True)
class Bucket:
    """A shape of clips: pixel frames, height and width. A picture is a clip of one frame."""

    frames: int
    height: int
    width: int

    @classmethod
    def parse(cls, text: str) -> Bucket:
        """FRAMESxHEIGHTxWIDTH. Raises ConfigError."""
        try:
            frames, height, width = (int(part) for part in text.split("x"))
        except ValueError:
            raise ConfigError(
                f"a bucket is FRAMESxHEIGHTxWIDTH, for example 81x480x832, not {text!r}"
            ) from None
        if min(frames, height, width) < 1:
            raise ConfigError(f"bucket {text}: it must have frames and pixels")
        return cls(frames, height, width)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.height, self.width

    def __str__(self) -> str:
        return f"{self.frames}x{self.height}x{self.width}"


def choose(buckets: Sequence[Bucket], frames: int, size: tuple[int, int]) -> Bucket | None:
    """The bucket for a clip: the longest that it fills, of the nearest aspect, the largest.

    None if it has too few frames for all. Of those that would enlarge it, only where there is no
    other, the smallest.

    Args:
        buckets: there are.
        frames: of the clip, at the rate of the dataset.
        size: height and width of the clip.
    """
    filled = [bucket for bucket in buckets if bucket.frames <= frames]
    if not filled:
        return None

    def cost(bucket: Bucket) -> tuple[float | int, ...]:
        aspect = math.log(bucket.width / bucket.height) - math.log(size[1] / size[0])
        pixels = bucket.height * bucket.width
        enlarges = max(bucket.height / size[0], bucket.width / size[1]) > LARGER
        return -bucket.frames, round(abs(aspect), 3), enlarges, pixels if enlarges else -pixels

    return min(filled, key=cost)


def generator(seed: int, *names: str | int) -> np.random.Generator:
    """Randomness that depends on a seed and names alone, on any machine."""
    digest = hashlib.sha256(repr((seed, *names)).encode()).digest()
    return np.random.default_rng(np.frombuffer(digest, np.uint32))


def starts(frames: int, length: int, most: int, random: np.random.Generator) -> list[int]:
    """Where windows begin that do not overlap, each somewhere in an equal part of the clip.

    Args:
        frames: of the clip.
        length: frames of a window, at most `frames`.
        most: windows.
        random: draws the places.
    """
    count = max(1, min(most, frames // length))
    slack = frames - count * length
    offsets = np.sort(random.integers(0, slack + 1, count))
    return [int(offset) + i * length for i, offset in enumerate(offsets)]


def cover(size: tuple[int, int], target: tuple[int, int]) -> tuple[int, int]:
    """The height and width to which a frame is scaled that is to cover a target, and be cut."""
    scale = max(target[0] / size[0], target[1] / size[1])
    high, wide = (max(t, round(side * scale)) for side, t in zip(size, target, strict=True))
    return high, wide


def crop(frame: np.ndarray, target: tuple[int, int]) -> np.ndarray:
    """The middle of a frame that is at least so high and wide."""
    top, left = ((side - t) // 2 for side, t in zip(frame.shape[:2], target, strict=True))
    return frame[top : top + target[0], left : left + target[1]]
