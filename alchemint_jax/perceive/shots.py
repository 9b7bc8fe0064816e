"""Finds hard cuts by how much frames differ: no weights, a millisecond a frame.

A gradual transition is no cut to it, for no two neighbours differ much; TransNetV2 finds those.
"""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from jaxtyping import Float32, UInt8

from alchemint_jax.errors import ConfigError
from alchemint_jax.perceive.pixels import resize

_SIZE = 18, 32  # of what is compared: noise and small motion average out
Small = Float32[np.ndarray, "h w 3"]


@dataclasses.dataclass(frozen=True)
class ContentShots:
    """A `ShotFinder` that compares colours, place by place.

    There is a cut where a frame differs from the one before it by more than `threshold`, by
    `ratio` times more than frames around it do (so fast motion is none), and where no frame shortly
    before is like one shortly after (so a flash is none).

    Attributes:
        threshold: the least difference, a mean over all pixels and channels, of 255.
        ratio: how many times the median difference of neighbouring frames it must be.
        reach: how many frames before and after are looked at, so the longest flash plus one.
    """

    threshold: int | float = 12.0
    ratio: int | float = 3.0
    reach: int = 6

    def __post_init__(self) -> None:
        if self.reach < 1:
            raise ConfigError(f"reach: {self.reach} frames; at least one is needed")

    def cuts(self, frames: Iterable[UInt8[np.ndarray, "h w 3"]]) -> Iterator[int]:
        """See `ShotFinder.cuts`; it knows of a cut `reach` frames later, and holds 2 * `reach`."""
        held: deque[Small] = deque(maxlen=2 * self.reach)
        number = -1
        for number, frame in enumerate(frames):
            held.append(resize(frame, *_SIZE).astype(np.float32))
            start = number + 1 - self.reach  # the latest frame with as many behind it
            if start > 0 and self._is_cut(held, len(held) - self.reach):
                yield start
        count = number + 1
        for start in range(max(1, count - self.reach + 1), count):
            if self._is_cut(held, len(held) - (count - start)):
                yield start

    def find(self, video: UInt8[np.ndarray, "f h w 3"]) -> tuple[tuple[int, int], ...]:
        """See `ShotFinder.find`."""
        return between(self.cuts(video), len(video))

    def _is_cut(self, held: Sequence[Small], place: int) -> bool:
        """Whether a shot begins with the frame at this place; `reach` of each side count."""
        change = _difference(held[place - 1], held[place])
        if change < self.threshold:
            return False
        near = list(held)[max(0, place - self.reach) : place + self.reach]
        place = min(place, self.reach)
        others = [_difference(a, b) for a, b in zip(near, near[1:], strict=False)]
        del others[place - 1]
        if others and change < self.ratio * np.median(others):
            return False
        before, after = near[:place], near[place:]
        return all(_difference(a, b) >= self.threshold for a in before for b in after)


def between(cuts: Iterable[int], frames: int) -> tuple[tuple[int, int], ...]:
    """The shots of a video of so many frames that is cut there, as half-open runs."""
    ends = [0, *cuts, frames]
    return tuple((a, b) for a, b in zip(ends, ends[1:], strict=False) if b > a)


def _difference(a: Small, b: Small) -> float:
    return float(np.abs(a - b).mean())
