"""Who was hardly detected is not gone where it is not detected: until when is it there?

What is half transparent, or cut off, gets low scores, and its track breaks off while it can still
be seen. It is followed from there frame by frame, for as long as it is recognised. Pure functions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from jaxtyping import Bool, Float

from alchemint_jax.annotate.tracks import Seen
from alchemint_jax.scene.spans import Spans

Look = Callable[[Mapping[int, Seen], int, Sequence[np.ndarray]], tuple[Seen, bool] | None]
"""Finds what is known from other frames in this one, perhaps in one of these boxes; and says
whether it recognised it, or only something that looks much like it."""
_FEW = 3  # detections say how something moves


def followed(
    there: Bool[np.ndarray, " f"],
    seen: Sequence[Seen],
    *,
    sure: float | int,
    recent: int,
    patience: int,
    look: Look,
) -> list[Seen]:
    """What is seen of a subject beyond the ends of its appearances.

    An end is passed where the detector was not sure of the subject just before. In the first frame
    beyond it the subject must be recognised. It is followed to the last such frame; or to where
    it is known again, if something like it is there all the way.

    Args:
        there: whether it is on screen, as far as that is known.
        seen: its detections.
        sure: where the mean score of the last detections reaches this, the end is one.
        recent: detections of so many frames are the last ones.
        patience: frames in a row in which nothing like it may be found.
        look: looks for it in a frame.
    """
    found: list[Seen] = []
    passed = there.copy()
    for start, end in Spans.where(there):
        own = [one for one in seen if start <= one.frame < end]
        for edge, step in ((start, -1), (end - 1, 1)):
            last = own[::-step][:1]
            some = [one for one in own if abs(one.frame - last[0].frame) <= recent]
            if len(some) < _FEW or np.mean([one.score for one in some]) >= sure:
                continue
            known = {one.frame: one for one in some}
            more = _beyond(passed, known, edge, step, patience, look)
            passed[[one.frame for one in more]] = True
            found += more
    return found


def _beyond(
    there: np.ndarray, known: dict[int, Seen], edge: int, step: int, patience: int, look: Look
) -> list[Seen]:
    """What is seen in the frames on one side of an edge, from there on; it is then known, too."""
    more: list[Seen] = []
    recognised, missed = 0, patience
    frame = edge + step
    while 0 <= frame < len(there) and not there[frame]:
        found = look(known, frame, expected(known, frame))
        if found is not None and (more or found[1]):
            known[frame], sure = found
            more.append(known[frame])
            recognised, missed = len(more) if sure else recognised, 0
        elif (missed := missed + 1) > patience:
            return more[:recognised]
        frame += step
    return more if 0 <= frame < len(there) else more[:recognised]


def expected(known: Mapping[int, Seen], frame: int) -> list[Float[np.ndarray, " 4"]]:
    """Where it may be: where it is if it goes on as it did, or where it was."""
    near = sorted(known, key=lambda other: abs(other - frame))[: 2 * _FEW]
    last = known[near[0]]
    centres = np.stack([(known[f].box[:2] + known[f].box[2:]) / 2 for f in near])
    speed = np.polyfit(np.array(near, float) - near[0], centres, 1)[0]
    return [last.box + np.tile((speed * (frame - last.frame)).round(1), 2), last.box]
