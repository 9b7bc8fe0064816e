"""Somebody else in the same place: a track that goes on with another one is two tracks.

Boxes do not say who is in them: where one has gone, or where a film is cut, the next one often
stands. So neighbouring detections of a track are compared by their colours. That is enough where
the track was lost in between; with an embedder, which looks at those whose colours differ, all of
them are compared.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from alchemint_jax.annotate import looks
from alchemint_jax.annotate.tracks import Track
from alchemint_jax.perceive import Embedder
from alchemint_jax.perceive.pixels import on_square

Crop = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""What is in a box of a frame."""
SAME = 0.7
"""Who is more alike, by colours, is the same one; or by the mean, where it is hardly seen."""
OTHER = 0.55
"""Who is less alike, by colours or by the mean of colours and vectors, is another one."""


@dataclass(frozen=True, eq=False)
class Doubt:
    """Two neighbouring detections of a track that may show two things.

    Attributes:
        before: the frame of the first one.
        after: that of the second one.
        pictures: of both.
        colors: how alike they are.
    """

    before: int
    after: int
    pictures: tuple[np.ndarray, np.ndarray]
    colors: float


class Watch:
    """Compares the detections of a track, each with the next one, while frames pass.

    Args:
        track: whose detections they are.
        searched: the frames that were searched.
        everywhere: whether all are compared, and not only those beside frames in which the track
            was lost.

    Attributes:
        frames: that it has to see.
        doubts: what it found.
    """

    def __init__(self, track: Track, searched: Sequence[int], everywhere: bool):
        place = {frame: i for i, frame in enumerate(searched)}
        pairs = [
            (a, b)
            for a, b in itertools.pairwise(track.seen)
            if everywhere or place[b.frame] - place[a.frame] > 1
        ]
        self._boxes = {one.frame: one.box for pair in pairs for one in pair}
        self._before = {b.frame: a.frame for a, b in pairs}
        self._last: tuple[np.ndarray, np.ndarray] = np.zeros(0), np.zeros(0)
        self.frames = self._boxes.keys()
        self.doubts: list[Doubt] = []

    def look(self, number: int, frame: np.ndarray, crop: Crop) -> None:
        """Sees a frame; all of `frames` come, in order."""
        if number not in self._boxes:
            return
        picture = crop(frame, self._boxes[number])
        colors = looks.color_vector(picture)
        if number in self._before:
            other, known = self._last
            if (alike := float(known @ colors)) < SAME:
                pictures = other, picture.copy()
                self.doubts.append(Doubt(self._before[number], number, pictures, alike))
        self._last = picture.copy(), colors  # not all of the frame


def find(watches: Sequence[Watch], embedder: Embedder | None) -> list[list[tuple[int, int]]]:
    """The frames before and after each change of each track."""
    doubts = [doubt for watch in watches for doubt in watch.doubts]
    alike = {id(doubt): doubt.colors for doubt in doubts}
    if embedder is not None and doubts:
        pictures = [on_square(picture) for doubt in doubts for picture in doubt.pictures]
        vectors = np.asarray(embedder.embed(pictures), np.float64)
        both = (vectors[::2] * vectors[1::2]).sum(1)
        alike = {id(d): (d.colors + float(x)) / 2 for d, x in zip(doubts, both, strict=True)}
    return [
        [(d.before, d.after) for d in watch.doubts if alike[id(d)] < OTHER] for watch in watches
    ]


def between(track: Track, before: int, after: int) -> dict[int, np.ndarray]:
    """Where it is in the frames from one detection to another one, both included."""
    known = {one.frame: one.box for one in track.seen}
    a, b = known[before], known[after]
    return {f: a + (b - a) * (f - before) / (after - before) for f in range(before, after + 1)}


def turn(before: int, colors: Sequence[np.ndarray]) -> int:
    """The frame from which on colours are rather like the last ones than like the first ones.

    Args:
        before: the frame of the first ones.
        colors: vectors of this and the following frames.
    """
    values = np.stack(colors)
    last = values @ (values[-1] - values[0])  # how much rather they are like the last ones
    rest = [last[k:].sum() - last[:k].sum() for k in range(1, len(values))]
    return before + 1 + int(np.argmax(rest))


def lost(
    track: Track, missed: Sequence[int], searched: Sequence[int], before: int, after: int
) -> list[int]:
    """The frames between two detections in which it is known not to be, sorted."""
    seen = {one.frame for one in track.seen}
    return sorted(f for f in {*missed, *searched} - seen if before < f < after)


def part(
    track: Track, missed: Sequence[int], changes: Sequence[tuple[int, int]]
) -> Iterator[tuple[Track, list[int]]]:
    """The tracks that one track is, each with the frames beside it in which it is not seen.

    Args:
        track: all of them.
        missed: frames in which it was looked for and not seen.
        changes: the first frame without the one before, and the first one with the one after.
    """
    starts = [-1, *(start for _, start in changes)]
    ends = [end for end, _ in changes] + [max(track.last, *missed, 0) + 1]
    for start, end in zip(starts, ends, strict=True):
        seen = [one for one in track.seen if start <= one.frame < end]
        if not seen:
            continue
        known = {one.frame: one for one in seen}
        gone = {f for f in missed if start <= f < end}
        if start >= 0:
            known.setdefault(start, dataclasses.replace(seen[0], frame=start))
            gone.add(start - 1)
        if end <= track.last:
            known.setdefault(end - 1, dataclasses.replace(seen[-1], frame=end - 1))
            gone.add(end)
        yield Track([known[f] for f in sorted(known)]), sorted(gone - known.keys())
