"""When each subject is on screen, from its scores: hysteresis, gaps, and shortest runs."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from alchemint_jax.annotate.rows import Row, clock_of
from alchemint_jax.annotate.settings import Presence
from alchemint_jax.scene.spans import Spans


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


def hysteresis(
    scores: Float[np.ndarray, " f"], on: float | int, off: float | int, gap: int, least: int
) -> Spans:
    """Runs that reach `on` and do not fall below `off`; gaps are closed, then short ones dropped.

    Args:
        scores: in each frame.
        on: a run holds a score of at least this.
        off: and none below this.
        gap: frames; shorter gaps are closed.
        least: frames; shorter runs are dropped.
    """
    runs = [run for run in Spans.where(scores >= off) if scores[run[0] : run[1]].max() > 0]
    joined: list[tuple[int, int]] = []
    for start, end in runs:
        if joined and start - joined[-1][1] < gap:
            joined[-1] = (joined[-1][0], end)
        else:
            joined.append((start, end))
    return Spans(
        run for run in joined if run[1] - run[0] >= least and scores[run[0] : run[1]].max() >= on
    )


def spans(row: Row, settings: Presence) -> Row:
    """Adds to each subject when it is on screen, and whether that is known at both ends."""
    clock = clock_of(row)
    subjects, lost = [], []
    for subject in row["subjects"]:
        scores = curve(subject, row["frames"])
        found = hysteresis(
            scores,
            settings.on,
            settings.off,
            clock.count(settings.gap),
            max(1, clock.count(settings.least)),
        )
        if not found:
            lost.append({"word": subject["word"], "reason": "is never there for long enough"})
            continue
        inside = np.concatenate([scores[s:e] for s, e in found])
        subjects.append(
            {
                **subject,
                "frames": [list(run) for run in found],
                "score": round(float(inside.mean()), 3),
                "best": round(float(inside.max()), 3),
                "coverage": round(len(inside) / (found[-1][1] - found[0][0]), 3),
                # At the border of a scene nobody knows since when, or until when.
                "open_start": found[0][0] == 0,
                "open_end": found[-1][1] == row["frames"],
            }
        )
    return {**row, "subjects": subjects, "dropped": row["dropped"] + lost}
