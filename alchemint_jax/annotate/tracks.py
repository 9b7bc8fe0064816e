"""Detections become tracks: who is the same from one frame to the next. Mathematics only.

Boxes are matched with where tracks are expected, the surest detections first (as in ByteTrack,
arXiv:2110.06864), by the overlap of boxes that are enlarged (as in C-BIoU, arXiv:2211.14317), for
frames that are searched lie apart.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from alchemint_jax.perceive.boxes import overlaps

_ENLARGED = 0.25  # of a box, at each side, before overlaps are measured
_STRANGE = 0.6  # overlaps count for so much where the word is another one of its kind ...
_STRANGER = 0.4  # ... and of another kind
_SMOOTH = 0.6  # weight of what is new in a velocity
_EDGE = 2  # pixels from the border of the frame that count as on it
_AS_WELL = 0.02  # by which a track is less like the tracks of a group that it is moved to
_NESTED = 0.85  # share of a box inside another one that makes it a part of that


def inside(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """The share of each box that each of the others covers [n, m]."""
    return _both(boxes, others) / np.maximum(_areas(boxes), 1e-9)[:, None]


def _fit(expected: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """How well boxes are where they are expected [n, m]."""
    pair = (enlarged(some, _ENLARGED).astype(np.float32) for some in (expected, boxes))
    return np.asarray(overlaps(*pair))


def _both(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    start = np.maximum(boxes[:, None, :2], others[None, :, :2])
    end = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    return np.clip(end - start, 0, None).prod(-1)


def _areas(boxes: np.ndarray) -> np.ndarray:
    return np.clip(boxes[:, 2:] - boxes[:, :2], 0, None).prod(-1)


def enlarged(boxes: np.ndarray, share: float | int) -> np.ndarray:
    """Boxes with a margin, a share of their sides."""
    margin = share * (boxes[:, 2:] - boxes[:, :2])
    return np.concatenate([boxes[:, :2] - margin, boxes[:, 2:] + margin], 1)


def clipped(box: np.ndarray, size: Sequence[int]) -> np.ndarray:
    """The part of a box that is in a frame of this height and width."""
    return np.clip(box, 0, np.array([size[1], size[0]] * 2))


def border_share(box: Sequence[float | int], size: Sequence[int]) -> float:
    """The share of a box's outline that lies on the border of the frame."""
    height, width = size
    left, top, right, bottom = box
    sides = [
        (bottom - top) * (left <= _EDGE),
        (right - left) * (top <= _EDGE),
        (bottom - top) * (right >= width - _EDGE),
        (right - left) * (bottom >= height - _EDGE),
    ]
    return float(sum(sides)) / max(1e-9, 2 * (right - left + bottom - top))


@dataclass(frozen=True)
class Seen:
    """A detection: its frame, box (left, top, right, bottom), score and word."""

    frame: int
    box: np.ndarray
    score: float
    word: str

    @classmethod
    def read(cls, row: Sequence[Any]) -> Seen:
        """From a row of frame, box, score and word."""
        return cls(int(row[0]), np.array(row[1:5], float), float(row[5]), str(row[6]))


@dataclass
class Track:
    """The same thing in several frames.

    Attributes:
        seen: detections, in the order of frames.
        velocity: of the centre, in pixels per frame.
    """

    seen: list[Seen]
    velocity: np.ndarray = field(default_factory=lambda: np.zeros(2))

    @property
    def first(self) -> int:
        """The first frame in which it was seen."""
        return self.seen[0].frame

    @property
    def last(self) -> int:
        """The last frame in which it was seen."""
        return self.seen[-1].frame

    def expected(self, frame: int) -> np.ndarray:
        """Where its box should be: it goes on as it did, for a short while."""
        most = 4 * self._pace()
        ahead = np.clip(frame - self.last, -most, most)
        return self.seen[-1].box + np.tile(self.velocity * ahead, 2)

    def _pace(self) -> int:
        return abs(self.last - self.seen[-2].frame) if len(self.seen) > 1 else 1

    def add(self, one: Seen) -> None:
        """Goes on with a later detection."""
        before = self.seen[-1]
        moved = (_centre(one.box) - _centre(before.box)) / (one.frame - before.frame)
        new = len(self.seen) == 1
        self.velocity = moved if new else _SMOOTH * moved + (1 - _SMOOTH) * self.velocity
        self.seen.append(one)

    def word(self, allowed: Callable[[str], bool] = lambda word: True) -> str | None:
        """The word with most of its scores among those allowed; None if they have too few."""
        weights: dict[str, float] = {}
        for one in self.seen:
            weights[one.word] = weights.get(one.word, 0.0) + one.score
        fits = {word: weight for word, weight in weights.items() if allowed(word)}
        best = max(fits, key=lambda word: (fits[word], word), default=None)
        return best if best and fits[best] >= 0.3 * sum(weights.values()) else None


def _centre(box: np.ndarray) -> np.ndarray:
    return (box[:2] + box[2:]) / 2


def associate(
    frames: Sequence[int],
    found: Sequence[Seen],
    kind: Callable[[str], str],
    *,
    start: float | int,
    overlap: float | int,
    patience: int,
) -> list[Track]:
    """Tracks through the frames that were searched.

    Args:
        frames: that were searched, in order.
        found: all detections.
        kind: of thing that a word is; what is taken for another one is less likely the same.
        start: the least score with which a track begins.
        overlap: the least overlap of a detection with where a track is expected.
        patience: frames for which a track is kept without a detection.
    """
    by_frame: dict[int, list[Seen]] = {}
    for one in found:
        by_frame.setdefault(one.frame, []).append(one)
    active: list[Track] = []
    done: list[Track] = []
    for frame in frames:
        done += [t for t in active if frame - t.last > patience]
        active = [t for t in active if frame - t.last <= patience]
        here = by_frame.get(frame, [])
        left = list(active)
        for sure in (True, False):
            some = [one for one in here if (one.score >= start) == sure]
            pairs = _match(left, some, frame, kind, overlap)
            for track, one in pairs:
                track.add(one)
            taken = [id(track) for track, _ in pairs]
            left = [track for track in left if id(track) not in taken]
            if sure:
                used = {id(one) for _, one in pairs}
                fresh = [one for one in some if id(one) not in used]
        active += [Track([one]) for one in fresh]
    tracks = _backwards(done + active, frames, found, kind, overlap, patience)
    return sorted(tracks, key=lambda t: (t.first, *t.seen[0].box.tolist()))


def _backwards(
    tracks: Sequence[Track],
    frames: Sequence[int],
    found: Sequence[Seen],
    kind: Callable[[str], str],
    overlap: float | int,
    patience: int,
) -> list[Track]:
    """Tracks with the unsure detections before their first sure one."""
    used = {id(one) for track in tracks for one in track.seen}
    left: dict[int, list[Seen]] = {}
    for one in found:
        if id(one) not in used:
            left.setdefault(one.frame, []).append(one)
    # A track that goes back in time, from its first two detections.
    back = [Track([track.seen[0]]) for track in tracks]
    for track, reverse in zip(tracks, back, strict=True):
        if len(track.seen) > 1:
            a, b = track.seen[:2]
            reverse.velocity = (_centre(b.box) - _centre(a.box)) / (b.frame - a.frame)
    for frame in reversed(frames):
        waiting = [t for t in back if 0 < t.last - frame <= patience]
        for reverse, one in _match(waiting, left.get(frame, []), frame, kind, overlap):
            reverse.add(one)
    return [
        dataclasses.replace(track, seen=reverse.seen[:0:-1] + track.seen)
        for track, reverse in zip(tracks, back, strict=True)
    ]


def _match(
    tracks: Sequence[Track],
    found: Sequence[Seen],
    frame: int,
    kind: Callable[[str], str],
    overlap: float | int,
) -> list[tuple[Track, Seen]]:
    if not tracks or not found:
        return []
    from scipy.optimize import linear_sum_assignment  # slow, and only those who track need it

    expected = np.stack([track.expected(frame) for track in tracks])
    fit = _fits(expected, [track.seen[-1].word for track in tracks], found, kind)
    rows, columns = linear_sum_assignment(-fit)
    return [
        (tracks[i], found[j]) for i, j in zip(rows, columns, strict=True) if fit[i, j] >= overlap
    ]


def _fits(
    expected: np.ndarray, names: Sequence[str], found: Sequence[Seen], kind: Callable[[str], str]
) -> np.ndarray:
    """How well detections are where things of these names are expected [n, m]."""
    fit = _fit(expected, np.stack([one.box for one in found]))
    for i, name in enumerate(names):
        for j, one in enumerate(found):
            if one.word != name:
                fit[i, j] *= _STRANGE if kind(one.word) == kind(name) else _STRANGER
    return fit


def goes_on(
    known: Mapping[int, Seen],
    frame: int,
    found: Sequence[Seen],
    kind: Callable[[str], str],
    overlap: float | int,
) -> Seen | None:
    """What a track is in another frame, of what was found there; None if it is not there.

    As in `associate`, what has another name must fit better: where one thing has gone, another one
    often is in its place.

    Args:
        known: what it is in those frames that are known; it goes on as it does beside this one.
        frame: the other frame.
        found: all detections there.
        kind: of thing that a word is.
        overlap: the least overlap with where it is expected.
    """
    if not found:
        return None
    near = min(known, key=lambda k: (abs(k - frame), k))
    other = [k for k in known if (k - near) * (near - frame) > 0]
    expected = known[near].box
    if other:
        second = min(other, key=lambda k: abs(k - near))
        step = (_centre(known[near].box) - _centre(known[second].box)) / (near - second)
        expected = expected + np.tile(step * (frame - near), 2)
    fit = _fits(expected[None], [known[near].word], found, kind)[0]
    best = int(fit.argmax())
    return found[best] if fit[best] >= overlap else None


def without_parts(tracks: Sequence[Track], same: Callable[[Track, Track], bool]) -> list[Track]:
    """Tracks but those that are, most of the time, a part of a longer one of the same word."""
    kept = []
    for track in tracks:
        mine = {one.frame: one.box for one in track.seen}
        whole = False
        for other in tracks:
            if other is track or len(other.seen) <= len(track.seen) or not same(track, other):
                continue
            theirs = {one.frame: one.box for one in other.seen}
            both = sorted(mine.keys() & theirs.keys())
            nested = [inside(mine[f][None], theirs[f][None])[0, 0] > _NESTED for f in both]
            whole |= sum(nested) > 0.5 * len(mine)
        if not whole:
            kept.append(track)
    return kept


def identities(
    tracks: Sequence[Track],
    alike: np.ndarray,
    least: float | int,
    same: Callable[[Track, Track], bool],
) -> list[list[int]]:
    """Which tracks are one subject: the most alike are joined first, never two that meet.

    Groups are as alike as the mean over their pairs, so that a row of tracks of which each is like
    the next one does not make one subject of its ends.

    Args:
        tracks: of one scene.
        alike: inner products of their vectors [n, n].
        least: what is less alike is not joined.
        same: whether two may be one at all.
    """
    count = len(tracks)
    frames = [{one.frame for one in track.seen} for track in tracks]
    apart = np.eye(count, dtype=bool)
    for i, a in enumerate(tracks):
        for j, b in enumerate(tracks[:i]):
            meet = bool(frames[i] & frames[j]) or _crossed(a, b)
            apart[i, j] = apart[j, i] = meet or not same(a, b)
    found = _joined(alike, apart, least)
    found.sort(key=lambda group: (-sum(len(frames[i]) for i in group), group))
    for x, larger in enumerate(found):
        for smaller in found[x + 1 :]:
            if larger and smaller and alike[np.ix_(larger, smaller)].mean() >= least:
                _regroup(larger, smaller, alike, apart)
    return sorted(sorted(group) for group in found if group)


def _joined(alike: np.ndarray, apart: np.ndarray, least: float | int) -> list[list[int]]:
    """Groups that are joined while the two most alike of them are alike enough, on average."""
    groups = [[i] for i in range(len(alike))]
    sums, sizes, never = alike.astype(float), np.ones(len(alike)), apart.copy()
    while groups:
        means = np.where(never, -np.inf, sums / np.outer(sizes, sizes)).round(9)
        x, y = np.unravel_index(int(means.argmax()), means.shape)
        if means[x, y] < least:
            break
        for array in (sums, sums.T):
            array[x] += array[y]
        for array in (never, never.T):
            array[x] |= array[y]
        never[y], never[:, y] = True, True
        sizes[x] += sizes[y]
        groups[x], groups[y] = groups[x] + groups[y], []
    return [group for group in groups if group]


def _regroup(larger: list[int], smaller: list[int], alike: np.ndarray, apart: np.ndarray) -> None:
    """Moves to the larger group what might as well be there.

    Where one thing has two tracks for a moment, two groups begin, and who returns is now in one of
    them and now in the other.
    """
    for i in list(smaller):
        rest = [k for k in smaller if k != i]
        here = alike[i, rest].mean() if rest else 0.0
        if not apart[i, larger].any() and alike[i, larger].mean() >= here - _AS_WELL:
            smaller.remove(i)
            larger.append(i)


def continued(tracks: Sequence[Track], soon: int, size: Sequence[int]) -> np.ndarray:
    """Which pairs of tracks may be one that was lost [n, n]: 1 where they are, else 0.

    One of them is first seen within so many frames after the other one was last seen, and within
    the length of a box of that place, and neither box is at the border of a frame of this size: who
    leaves there makes room for the next one.
    """
    near = np.zeros((len(tracks), len(tracks)))
    for i, before in enumerate(tracks):
        for j, after in enumerate(tracks):
            if 0 < after.first - before.last <= soon:
                last, first = before.seen[-1].box, after.seen[0].box
                sides = max((last[2:] - last[:2]).max(), (first[2:] - first[:2]).max())
                close = np.abs(_centre(last) - _centre(first)).max() <= sides
                inside = all(border_share(box.tolist(), size) == 0 for box in (last, first))
                near[i, j] = near[j, i] = float(close and inside)
    return near


def _crossed(a: Track, b: Track) -> bool:
    """Whether two tracks are on screen at the same time."""
    return a.first <= b.last and b.first <= a.last
