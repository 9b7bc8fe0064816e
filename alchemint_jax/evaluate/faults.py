"""Known faults put into clips of which is known who is on screen when. Pure functions on arrays.

Most of them show frames of the clip in another order. So what they do to every subject is known
exactly, and a clip looks as a system's would that made this mistake.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from alchemint_jax.evaluate import metrics
from alchemint_jax.perceive.pixels import Place, grow
from alchemint_jax.scene.scene import Scene
from alchemint_jax.scene.spans import Spans

Order = Int[np.ndarray, " f"]
Mask = Bool[np.ndarray, " f"]
Frames = UInt8[np.ndarray, "f h w 3"]

LATE = tuple(range(1, 9))
"""Frames by which a clip is late."""
GAPS = (0.5, 1.0, 1.5, 2.0)
"""Seconds for which a subject is gone in the middle of its longest appearance."""
OPACITIES = (0.75, 0.5, 0.35, 0.2, 0.1)
OUTSIDE = (0.25, 0.5, 0.75)
"""Shares of a subject's width that are beyond the border."""
_EDGE = 2  # pixels from the border that count as on it
_AROUND = 0.15  # of its size around a box: what is faded with it


@dataclasses.dataclass(frozen=True, eq=False)
class Truth:
    """A clip, and who is on screen when in it.

    Attributes:
        scene: whose spans are what the clip shows.
        video: its frames.
    """

    scene: Scene
    video: Frames

    @property
    def presence(self) -> list[Mask]:
        """Of each subject."""
        return [metrics.presence(s.spans, len(self.video)) for s in self.scene.subjects]


@dataclasses.dataclass(frozen=True, eq=False)
class Faulty:
    """A clip with a fault.

    Attributes:
        fault: its name.
        amount: how much of it, in frames, seconds or shares.
        video: the frames.
        presence: of each subject, in these frames.
        subjects: those that the fault is about.
        scene: what is asked for, where that is not what the clip shows.
    """

    fault: str
    amount: float | int
    video: Frames
    presence: list[Mask]
    subjects: Sequence[int]
    scene: Scene | None = None


def reordered(
    truth: Truth, order: Order, fault: str, amount: float | int, subjects: Sequence[int]
) -> Faulty:
    """The clip with its frames in this order."""
    presence = [mask[order] for mask in truth.presence]
    return Faulty(fault, amount, truth.video[order], presence, subjects)


def late(frames: int, by: int) -> Order:
    """Everything happens so many frames later; the first frame stands still meanwhile."""
    return np.maximum(np.arange(frames) - by, 0)


def replaced(where: Mask, by: Mask) -> Order:
    """Frames are replaced by the middle of the longest run of others, which go to and fro if they
    are too few.

    At the ends of a run a subject is often cut off by the border, and nobody could say whether it
    was put in or not.

    Args:
        where: the frames that are replaced.
        by: the frames that are shown instead; there is one at least.
    """
    order = np.arange(len(where))
    first, last = max(Spans.where(by), key=lambda run: run[1] - run[0])
    for start, end in Spans.where(where):
        edge = max(0, (last - first - (end - start)) // 2)
        line = np.arange(first + edge, last - edge)
        swing = np.concatenate([line, line[-2:0:-1]])
        order[start:end] = np.resize(swing, end - start)
    return order


def gap(present: Mask, by: Mask, length: int) -> Order | None:
    """The subject is gone for so many frames in the middle of its longest appearance.

    None where that appearance does not leave as many frames on both sides together, and two at
    each.
    """
    start, end = max(Spans.where(present), key=lambda run: run[1] - run[0])
    if end - start < max(2 * length, length + 4):
        return None
    first = (start + end - length) // 2
    where = np.zeros(len(present), bool)
    where[first : first + length] = True
    return replaced(where, by)


def faded(
    video: Frames,
    empty: Frames,
    where: Mask,
    opacity: float,
    boxes: Float[np.ndarray, "f 4"] | None = None,
) -> Frames:
    """What `empty` does not show has this opacity in these frames.

    With `boxes` only what is in them, and a little around them, fades: others who move stay as they
    are. A frame without a box (NaN) fades as a whole.
    """
    out = video.copy()
    places: list[Place | None] = (
        [None] * len(video)
        if boxes is None
        else grow(boxes.astype(np.float32), _AROUND, *video.shape[1:3])
    )
    for f in np.flatnonzero(where):
        part: tuple[slice, ...] = ()
        if (place := places[f]) is not None:
            left, top, right, bottom = place
            part = (slice(top, bottom), slice(left, right))
        mixed = opacity * video[f][part].astype(np.float32) + (1 - opacity) * empty[f][part]
        out[f][part] = np.rint(mixed).astype(np.uint8)
    return out


def half_out(
    video: Frames, boxes: Float[np.ndarray, "f 4"], where: Mask, share: float
) -> tuple[Frames, Mask]:
    """The picture is moved so that a share of the subject's width is beyond a border.

    That is the one that it is nearer to in the mean of each appearance, so that it does not jump to
    the other one half-way. Where it is cut off by a border as it is, nobody knows its width: the
    nearest frame is shown that has all of it. What comes in at the other side repeats the last
    column.

    Returns:
        The frames, and in which of them that could be done: those with a box, of appearances in
        which it is whole in one frame at least.
    """
    out, done = video.copy(), np.zeros(len(video), bool)
    width = video.shape[2]
    whole = (boxes[:, 0] > _EDGE) & (boxes[:, 2] < width - _EDGE)
    for start, end in Spans.where(where & np.isfinite(boxes).all(1)):
        frames = start + np.flatnonzero(whole[start:end])
        if not len(frames):
            continue
        to_left = boxes[frames][:, [0, 2]].mean() < width / 2
        for f in range(start, end):
            shown = frames[np.abs(frames - f).argmin()]
            left, right = boxes[shown, 0], boxes[shown, 2]
            beyond = share * (right - left)
            shift = int(round(left + beyond)) if to_left else int(round(right - beyond)) - width
            out[f] = video[shown][:, np.clip(np.arange(width) + shift, 0, width - 1)]
        done[start:end] = True
    return out, done


def all_faults(
    truth: Truth, boxes: Mapping[int, Float[np.ndarray, "f 4"]], strangers: Mapping[int, Scene]
) -> Iterator[Faulty]:
    """Every fault that a clip can have.

    Args:
        truth: the clip.
        boxes: of subjects, in pixels of it, where they are known.
        strangers: by subject, the scene in which its picture is that of somebody else.
    """
    count = len(truth.video)
    clock = truth.scene.clock
    masks = truth.presence
    every = range(len(masks))
    for by in LATE:
        yield reordered(truth, late(count, by), "late", by, every)
    for i, scene in strangers.items():
        yield Faulty("wrong subject", 1.0, truth.video, masks, [i], scene)
    for i, here in enumerate(masks):
        away = ~here
        if not here.any():
            continue
        if i in boxes:
            for share in OUTSIDE:
                video, done = half_out(truth.video, boxes[i], here, share)
                if done.any():
                    moved = [done if k == i else mask for k, mask in enumerate(masks)]
                    yield Faulty("half out", share, video, moved, [i])
        if not away.any():
            continue
        for seconds in GAPS:
            order = gap(here, away, clock.count(seconds))
            if order is not None:
                yield reordered(truth, order, "gap", seconds, [i])
        yield reordered(truth, replaced(away, here), "always", 1.0, [i])
        yield reordered(truth, replaced(here, away), "never", 1.0, [i])
        empty = truth.video[replaced(here, away)]
        for opacity in OPACITIES:
            video = faded(truth.video, empty, here, opacity, boxes.get(i))
            yield Faulty("faded", opacity, video, masks, [i])
