"""When each subject really was on screen, beside when it was to be."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import UInt8

from alchemint_jax.errors import AlchemintError
from alchemint_jax.evaluate import boundary_errors, t_iou
from alchemint_jax.evaluate.scores import untimed
from alchemint_jax.evaluate.tracker import Tracker
from alchemint_jax.scene.scene import Scene
from alchemint_jax.scene.spans import Spans


def measured(
    tracker: Tracker, frames: UInt8[np.ndarray, "f h w 3"], scene: Scene
) -> list[dict[str, Any]]:
    """What a tracker says of a clip, subject by subject.

    Returns:
        For each subject its "word"; "asked" and "seen", spans in pixel frames; "starts" and
        "ends", how many frames later than asked each appearance begins and ends; "error", the mean
        of their sizes, None where there is none; "iou"; "identity", whether it is who the picture
        shows (None if nobody knows); and a "remark". "seen" is None where it was not measured.
    """
    try:
        sightings = tracker.track(frames, untimed(scene))
    except AlchemintError as error:
        return [_row(subject.word, subject.spans, remark=str(error)) for subject in scene.subjects]
    rows = []
    for subject, sighting in zip(scene.subjects, sightings, strict=True):
        seen = sighting.spans
        row = _row(subject.word, subject.spans, seen, sighting.remark)
        row["identity"] = bool(sighting.identity) if seen and sighting.told else None
        rows.append(row)
    return rows


def _row(word: str, asked: Spans, seen: Spans | None = None, remark: str = "") -> dict[str, Any]:
    row: dict[str, Any] = {"word": word, "asked": asked, "seen": seen, "remark": remark}
    row |= {"starts": [], "ends": [], "error": None, "iou": None, "identity": None}
    if seen is not None:
        starts, ends = boundary_errors(seen, asked)
        row |= {"starts": starts, "ends": ends, "iou": float(t_iou(seen, asked))}
        row["error"] = _size([*starts, *ends])
    return row


def _size(errors: Sequence[float | int]) -> float | None:
    return float(np.mean(np.abs(errors))) if errors else None
