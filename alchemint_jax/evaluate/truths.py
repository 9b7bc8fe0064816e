"""Whole videos of a folder beside those that they should be, which another folder holds."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from alchemint_jax.errors import DataError
from alchemint_jax.evaluate.clip import Clip, Video
from alchemint_jax.evaluate.quality.frechet import Moments, frechet_distance
from alchemint_jax.scene.scene import Scene

FEATURES = "features"
"""In the row of a video: the vectors of it and of its truth, which no report holds."""
_LEAST = 2  # videos that have a distribution


def chosen(
    folder: str | os.PathLike[str], found: Mapping[str, Sequence[Path]], names: Sequence[str]
) -> dict[str, Path]:
    """The file of each case that has one.

    Args:
        folder: where they are.
        found: the files of each case.
        names: of the cases.

    Raises:
        DataError: none has one, or one has several.
    """
    for name in names:
        if len(found[name]) > 1:
            files = " and ".join(path.name for path in found[name])
            raise DataError(f"--truth {folder}: {name} is there twice: {files}")
    if not any(found.values()):
        raise DataError(
            f"--truth {folder}: none of its videos is named by a case; that of the first one would "
            f"be {names[0]}.mp4"
        )
    return {name: paths[0] for name, paths in found.items() if paths}


def of_whole(
    video: Video, case: Scene, judges: Any, truth: Path | None
) -> tuple[dict[str, Any], list[str]]:
    """The figures of a video, those that compare it with its truth among them, and remarks.

    A truth that cannot be compared is a remark, and no fault of the video.
    """
    from alchemint_jax.evaluate.quality.per_video import figures

    frames = np.asarray(video)
    if truth is None:
        return dict(figures(frames, case, judges)), []
    remarks: list[str] = []
    try:
        other = np.asarray(Clip(truth))
    except DataError as error:
        return dict(figures(frames, case, judges)), [f"its truth {truth.name} {error}"]
    try:
        found: dict[str, Any] = dict(figures(frames, case, judges, truth=other))
    except DataError as error:
        remarks.append(f"it cannot be compared with its truth: {error}")
        found = dict(figures(frames, case, judges))
    if judges.features is not None:
        try:
            vectors = [judges.features(one) for one in (frames, other)]
            found[FEATURES] = [np.asarray(one, np.float64).tolist() for one in vectors]
        except DataError as error:
            remarks.append(f"it has no part in the Frechet video distance: {error}")
    return found, remarks


class Sets:
    """The distance of the videos to their truths, as sets, while rows of videos pass."""

    def __init__(self) -> None:
        self._moments: list[Moments] = []

    def take(self, row: dict[str, Any]) -> None:
        """Adds the vectors of a video, which its row then has no more."""
        if (vectors := row.pop(FEATURES, None)) is None:
            return
        new = [Moments.of(np.array([one], np.float64)) for one in vectors]
        known = self._moments
        self._moments = [a.add(b) for a, b in zip(known, new, strict=True)] if known else new

    def part(self) -> dict[str, Any]:
        """The part of a report about sets; empty where nothing was compared."""
        if not self._moments:
            return {}
        count = self._moments[0].count
        apart = frechet_distance(*self._moments) if count >= _LEAST else None
        return {"sets": {"frechet_video_distance": apart, "videos": count}}
