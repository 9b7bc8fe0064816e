"""Who moves out of the frame is on screen for longer than a detector finds it: until when?

A detector wants to see most of a thing. So where a track ends and was moving towards the border of
the frame, the strip in which it must leave is compared with what is there when it has left. If
nothing else moves there, the last frame that differs is the last one with the subject. If the
camera moves, it is where its box has left, had it moved on as it did.

A track that begins is one that ends, backwards in time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8

from alchemint_jax.annotate.tracks import Seen, clipped

_LATER = 10  # frames are looked at after it should have left
_CALM_FRAMES = 6  # frames show what is there without it
_DIFFERENT = 48  # of the sum of three channels
_CALM = 0.1  # share of a strip that may differ without it
_LEAST = 0.02  # share of a strip that a subject changes
_SHADOW = 0.15  # of the largest change: less is a shadow, or what the subject stirs
_MARGIN = 0.1  # of a box, above and below, or at both sides


@dataclass(frozen=True)
class Exit:
    """A way out of the frame.

    Attributes:
        frame: the last one in which the subject was detected.
        step: 1 where it leaves, -1 where it enters: the direction of time.
        gone: how many frames later it has left, if it goes on as it did.
        strip: left, top, right, bottom of where it leaves, in whole pixels.
        axis: along which it moves, 0 for x.
        length: of the frame along it where that is where it leaves, 0 where it leaves at 0.
    """

    frame: int
    step: int
    gone: int
    strip: tuple[int, int, int, int]
    axis: int
    length: int

    def frames(self, count: int) -> list[int]:
        """The frames of a clip of so many that tell when it left, in the order of `step`."""
        last = self.frame + self.step * (self.gone + _LATER + _CALM_FRAMES)
        return [f for f in range(self.frame, last, self.step) if 0 <= f < count]

    def boxes(
        self, box: Float[np.ndarray, " 4"], last: int, count: int, size: tuple[int, int]
    ) -> dict[int, Float[np.ndarray, " 4"]]:
        """Where it is in the frames after `frame`, as far as the border leaves it.

        It moves evenly, so that it has just left after `last`; or, where the clip ends before it
        has, as it did.

        Args:
            box: in `frame`.
            last: the last frame that shows it, in the direction of `step`.
            count: frames of the clip.
            size: height and width of the frame.
        """
        steps = abs(last - self.frame)
        ends = not 0 <= last + self.step < count
        out = max(steps + 1, self.gone) if ends else steps + 1
        far = self.length - box[self.axis if self.length else self.axis + 2]
        found = {}
        for k in range(1, steps + 1):
            moved = box.astype(float)
            moved[self.axis :: 2] += far * k / out
            found[self.frame + self.step * k] = clipped(moved, size)
        return found


def find_exit(
    seen: Sequence[Seen], size: tuple[int, int], step: int, most: int, recent: int
) -> Exit | None:
    """How a track leaves (step 1), or enters (step -1); None if it does not move to the border.

    Args:
        seen: its detections, in the order of frames.
        size: height and width of the frame.
        step: the direction of time.
        most: frames within which it must have left.
        recent: its last detections are those of so many frames.
    """
    order = list(seen)[::step]
    last = order[-1]
    some = [one for one in order if abs(one.frame - last.frame) <= recent]
    if len(some) < 3:
        return None
    times = np.array([step * (one.frame - last.frame) for one in some], float)
    boxes = np.stack([one.box for one in some])
    height, width = size
    best: Exit | None = None
    for axis, length in ((0, width), (1, height)):
        for towards in (-1, 1):
            # The edge that follows; the other one may have been cut off at the border already.
            edge = boxes[:, axis] if towards > 0 else length - boxes[:, axis + 2]
            ahead = length - boxes[-1, axis + 2] if towards > 0 else boxes[-1, axis]
            speed = np.polyfit(times, edge, 1)[0]
            side = boxes[-1, axis + 2] - boxes[-1, axis]
            if speed <= 0 or speed * max(1, np.ptp(times)) < 0.1 * side or ahead > 0.5 * side:
                continue
            gone = int(np.ceil((length - edge[-1]) / speed))
            if gone > most or (best is not None and gone >= best.gone):
                continue
            strip = _strip(boxes[-1], axis, towards, length, size)
            border = length if towards > 0 else 0
            best = Exit(last.frame, step, max(1, gone), strip, axis, border)
    return best


def _strip(
    box: np.ndarray, axis: int, towards: int, length: int, size: tuple[int, int]
) -> tuple[int, int, int, int]:
    """Half a box deep at the border, a little more than the box across."""
    across = 1 - axis
    side, depth = box[across + 2] - box[across], 0.5 * (box[axis + 2] - box[axis])
    low, high = [0.0, 0.0], [0.0, 0.0]
    low[across] = max(0.0, box[across] - _MARGIN * side)
    high[across] = min(float(size[0] if across else size[1]), box[across + 2] + _MARGIN * side)
    low[axis], high[axis] = (length - depth, length) if towards > 0 else (0.0, depth)
    left, top = (int(np.floor(x)) for x in low)
    right, bottom = (int(np.ceil(x)) for x in high)
    return left, top, max(right, left + 1), max(bottom, top + 1)


def last_frame(way: Exit, strips: Sequence[UInt8[np.ndarray, "h w 3"]], rest: int) -> int:
    """The last frame in which the subject is on screen, in the direction of `step`.

    Args:
        way: out.
        strips: the strip in each frame of `way.frames`.
        rest: frames that it may at most go on unseen, where the camera moves.
    """
    every = np.stack(strips).astype(np.int16)
    steps = np.array([_changed(a, b) for a, b in zip(every, every[1:], strict=False)])
    starts = range(max(1, way.gone // 2), len(every) - _CALM_FRAMES + 1)
    if not starts:  # the clip ends before it has left
        return way.frame + way.step * min(way.gone - 1, len(strips) - 1)
    # Where least happens, it has left.
    moves = [round(float(steps[s : s + _CALM_FRAMES - 1].max()), 4) for s in starts]
    calm = starts[int(np.argmin(moves))]
    window = every[calm : calm + _CALM_FRAMES]
    empty = np.median(window, axis=0)
    noise = max(_changed(strip, empty) for strip in window)
    if noise > _CALM:
        return way.frame + way.step * min(way.gone - 1, rest)
    changed = [_changed(strip, empty) for strip in every[:calm]]
    least = max(_LEAST, 2 * noise, _SHADOW * max(changed))
    there = [i for i, share in enumerate(changed) if share > least]
    return way.frame + way.step * (there[-1] if there else 0)


def _changed(strip: np.ndarray, other: np.ndarray) -> float:
    """The share of pixels that differ."""
    return float((np.abs(strip - other).sum(-1) > _DIFFERENT).mean())
