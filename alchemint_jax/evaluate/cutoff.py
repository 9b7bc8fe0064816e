"""Who stays at the border, cut off, is often not detected: until when is it there?

It is followed from where it was seen, for as long as its place shows it. Who moves out of the frame
or into it is not: `annotate.borders` says when it is gone. Pure functions.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Bool

from alchemint_jax.annotate import borders
from alchemint_jax.annotate.tracks import Seen, border_share
from alchemint_jax.scene.spans import Spans

Shows = Callable[[Seen, int], bool]
"""Whether the place of a detection shows the same thing in another frame."""
_FEW = 3  # detections say how something moves


def followed(
    there: Bool[np.ndarray, " f"],
    seen: Sequence[Seen],
    size: tuple[int, int],
    most: int,
    part: int,
    recent: int,
    leaving: int,
    shows: Shows,
) -> Bool[np.ndarray, " f"]:
    """Presence, with the frames beside it in which the subject is at the border, undetected.

    Args:
        there: whether it is on screen, as far as that is known.
        seen: its detections.
        size: height and width of the picture.
        most: frames for which it is followed.
        part: frames that are gone through together: if the last one shows it, all of them do.
        recent: detections of so many frames say whether it moves out, or in ...
        leaving: ... within so many frames.
        shows: looks at the place of a detection.
    """
    found = there.copy()
    for start, end in Spans.where(there):
        own = [one for one in seen if start <= one.frame < end]
        if len(own) < _FEW:
            continue
        for frame, step in ((start, -1), (end - 1, 1)):
            known = own[0 if step < 0 else -1]
            if border_share(known.box.tolist(), size) == 0:
                continue
            if borders.find_exit(own, size, step, leaving, recent) is not None:
                continue
            ahead = range(frame + step, frame + step * (most + 1), step)
            free = list(itertools.takewhile(lambda f: 0 <= f < len(there) and not there[f], ahead))
            found[free[: _length(known, free, part, shows)]] = True
    return found


def _length(known: Seen, frames: Sequence[int], part: int, shows: Shows) -> int:
    """How many of these frames show it, from the first one on."""
    for first in range(0, len(frames), part):
        some = frames[first : first + part]
        if not shows(known, some[-1]):
            rest = itertools.takewhile(lambda frame: shows(known, frame), some[:-1])
            return first + len(list(rest))
    return len(frames)
