"""When each subject is on screen, from its scores: hysteresis, gaps, and shortest runs."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float

from alchemint_jax.annotate.rows import Real, Row, clock_of
from alchemint_jax.annotate.settings import Presence
from alchemint_jax.annotate.tracks import border_share
from alchemint_jax.scene.spans import Spans

_STILL = 0.1  # of the longer side of a box: its centre moves by less


def curve(subject: Row, frames: int) -> Float[np.ndarray, " f"]:
    """A score in each frame: as detected, 0 where it was looked for and not seen.

    Between two frames that were searched it goes evenly from one to the other, and it is 0 where
    one of them is; before the first and after the last it is as there.
    """
    known = {f: 0.0 for f in subject["missed"]} | {one[0]: one[5] for one in subject["seen"]}
    at = np.array(sorted(known))
    values = np.array([known[f] for f in at])
    every = np.interp(np.arange(frames), at, values)
    for before, after, s, e in zip(at, at[1:], values, values[1:], strict=False):
        if s == 0 or e == 0:
            every[before + 1 : after] = 0.0
    return every


def without_idle(
    subject: Row, scores: Float[np.ndarray, " f"], on: Real, longest: int
) -> Float[np.ndarray, " f"]:
    """The scores, but 0 in runs below `on` that are longer than so many frames and do not move."""
    boxes = np.array([one[:5] for one in subject["seen"]], float)
    found = scores.copy()
    for start, end in Spans.where((scores < on) & (scores > 0)):
        here = boxes[(boxes[:, 0] >= start) & (boxes[:, 0] < end), 1:]
        if end - start <= longest or len(here) < 2:
            continue
        sides = (here[:, 2:] - here[:, :2]).max(1)
        centres = (here[:, :2] + here[:, 2:]) / 2
        if np.abs(centres - np.median(centres, 0)).max() <= _STILL * np.median(sides):
            found[start:end] = 0.0
    return found


def hysteresis(
    scores: Float[np.ndarray, " f"],
    on: Real,
    off: Real,
    closed: Callable[[int, int], bool],
    least: int,
) -> Spans:
    """Runs that reach `on` and do not fall below `off`; gaps are closed, then short ones dropped.

    Args:
        scores: in each frame.
        on: a run holds a score of at least this.
        off: and none below this.
        closed: whether a gap [end, start) is no absence.
        least: frames; shorter runs are dropped.
    """
    runs = [run for run in Spans.where(scores >= off) if scores[run[0] : run[1]].max() > 0]
    joined: list[tuple[int, int]] = []
    for start, end in runs:
        if joined and closed(joined[-1][1], start):
            joined[-1] = (joined[-1][0], end)
        else:
            joined.append((start, end))
    return Spans(
        run for run in joined if run[1] - run[0] >= least and scores[run[0] : run[1]].max() >= on
    )


def is_closed(
    subject: Row, size: Sequence[int], gap: int, inside: int, end: int, start: int
) -> bool:
    """Whether a subject is taken to be there in [end, start), where it was not seen.

    It is if that is shorter than `gap`; or than `inside`, if it was last seen and is then seen at
    nearly one place that is not at the border of the frame.
    """
    if start - end < gap:
        return True
    if start - end >= inside:
        return False
    before = max((one for one in subject["seen"] if one[0] < end), default=None)
    after = min((one for one in subject["seen"] if one[0] >= start), default=None)
    if before is None or after is None:
        return False
    boxes = np.array([before[1:5], after[1:5]], float)
    centres, sides = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]
    near = np.abs(centres[0] - centres[1]).max() <= sides.max()
    return bool(near) and all(border_share(box.tolist(), size) == 0 for box in boxes)


def spans(row: Row, settings: Presence) -> Row:
    """Adds to each subject when it is on screen, and whether that is known at both ends.

    The same is said of `others`, what was seen and is no subject of the caption.
    """
    subjects, lost = [], []
    for subject in row["subjects"]:
        if (found := shown(subject, row, settings)) is None:
            lost.append({"word": subject["word"], "reason": "is never there for long enough"})
        else:
            subjects.append(found)
    others = [found for one in row["others"] if (found := shown(one, row, settings)) is not None]
    return {**row, "subjects": subjects, "others": others, "dropped": row["dropped"] + lost}


def shown(subject: Row, row: Row, settings: Presence) -> Row | None:
    """A subject with the frames in which it is on screen; None if there are none."""
    found, scores = presence(subject, row, settings)
    if not found:
        return None
    inside = np.concatenate([scores[s:e] for s, e in found])
    return {
        **subject,
        "frames": [list(run) for run in found],
        "score": round(float(inside.mean()), 3),
        "best": round(float(inside.max()), 3),
        "coverage": round(len(inside) / (found[-1][1] - found[0][0]), 3),
        # At the border of a scene nobody knows since when, or until when.
        "open_start": found[0][0] == 0,
        "open_end": found[-1][1] == row["frames"],
    }


def presence(subject: Row, row: Row, settings: Presence) -> tuple[Spans, Float[np.ndarray, " f"]]:
    """When a subject is on screen, and how sure that is in each frame of the scene."""
    clock = clock_of(row)
    scores = curve(subject, row["frames"])
    scores = without_idle(subject, scores, settings.on, clock.count(settings.idle))
    closed = functools.partial(
        is_closed, subject, row["size"], clock.count(settings.gap), clock.count(settings.inside)
    )
    least = max(1, clock.count(settings.least))
    return hysteresis(scores, settings.on, settings.off, closed, least), scores
