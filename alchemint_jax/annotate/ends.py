"""Where tracks begin and end, to the frame.

A track that is in one of two frames which were searched, and not in the next one, has an end
between them. The frame in the middle says in which half it is, and so on. Where a step has six
frames, two or three of them are looked at instead of all five that lie between.
"""

from __future__ import annotations

import bisect
import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from alchemint_jax.annotate.tracks import Seen, Track, goes_on

Frames = Iterable[tuple[int, np.ndarray]]
Look = Callable[[Frames], Iterable[Seen]]
_TOGETHER = 8  # gaps whose frames are in memory, and are looked at together


@dataclass
class End:
    """An end of a track.

    Attributes:
        track: its number.
        seen: the frame nearest to the end that is known to show it.
        gone: the one that is known not to, at the other side of the end.
    """

    track: int
    seen: int
    gone: int

    @property
    def middle(self) -> int | None:
        """The frame that halves what is not known; None if that is nothing."""
        return (self.seen + self.gone) // 2 if abs(self.gone - self.seen) > 1 else None

    @property
    def between(self) -> range:
        """The frames of which it is not known whether they show the track."""
        return range(min(self.seen, self.gone) + 1, max(self.seen, self.gone))


def find(tracks: Sequence[Track], searched: Sequence[int]) -> list[End]:
    """The ends between frames that were searched, those of gaps included."""
    found = []
    for number, track in enumerate(tracks):
        there = {one.frame for one in track.seen}
        for before, after in zip(searched, searched[1:], strict=False):
            if before in there and after not in there:
                found.append(End(number, before, after))
            elif after in there and before not in there:
                found.append(End(number, after, before))
    return found


def refine(
    tracks: Sequence[Track],
    ends: Sequence[End],
    searched: Sequence[int],
    frames: Frames,
    look: Look,
    kind: Callable[[str], str],
    overlap: float | int,
) -> tuple[list[Track], list[list[int]]]:
    """The tracks with what is seen of them beside their ends.

    Args:
        tracks: as found in the frames that were searched.
        ends: of them.
        searched: those frames.
        frames: all that lie between both sides of an end, in order. A few are held at a time.
        look: detects things in frames.
        kind: of thing that a word is.
        overlap: the least overlap of a detection with where a track is expected.

    Returns:
        The tracks, and for each the frames in which it was looked for and not seen.
    """
    known = [{one.frame: one for one in track.seen} for track in tracks]
    missed: list[list[int]] = [[] for _ in tracks]
    for images in _parts(frames, searched):
        some = [end for end in ends if end.middle in images]
        while wanted := sorted({end.middle for end in some if end.middle is not None}):
            here: dict[int, list[Seen]] = {frame: [] for frame in wanted}
            for one in look((frame, images[frame]) for frame in wanted):
                here[one.frame].append(one)
            for end in some:
                if (middle := end.middle) is None:
                    continue
                found = goes_on(known[end.track], middle, here[middle], kind, overlap)
                if found is None:
                    end.gone = middle
                    missed[end.track].append(middle)
                else:
                    end.seen = middle
                    known[end.track][middle] = found
    refined = [
        dataclasses.replace(track, seen=[some[frame] for frame in sorted(some)])
        for track, some in zip(tracks, known, strict=True)
    ]
    return refined, [sorted(some) for some in missed]


def _parts(frames: Frames, searched: Sequence[int]) -> Iterator[dict[int, np.ndarray]]:
    """Frames by number, those of a few gaps between searched frames at a time."""
    held: dict[int, np.ndarray] = {}
    gaps: set[int] = set()
    for number, frame in frames:
        gap = bisect.bisect(searched, number)
        if gap not in gaps and len(gaps) == _TOGETHER:
            yield held
            held, gaps = {}, set()
        held[number] = frame
        gaps.add(gap)
    if held:
        yield held
