"""Scores of videos against the cases that asked for them.

`score` is a pure function of cases and videos, so that a dataset's own clips can be scored as a
perfect model would be. A `Tracker` says what is on screen when.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float64

from alchemint_jax.errors import DataError
from alchemint_jax.evaluate import metrics
from alchemint_jax.evaluate.tracker import Tracker
from alchemint_jax.scene.scene import Scene
from alchemint_jax.scene.spans import Spans

_TIMED = {
    "t_iou": "t-IOU",
    "t_l2": "t-L2",
    "frame_iou": "frame IoU",
    "presence": "presence rate",
    "absence": "absence rate",
    "detected": "detected",
    "identity": "identity",
}
_RECALLS = {f"recall_{at}": f"R@{at}" for at in metrics.RECALLS}


def measures(tracker: Tracker) -> dict[str, str]:
    """Titles of what is measured, by name: what is always, and what this tracker can give."""
    return {**_TIMED, **tracker.measures, **_RECALLS}


def score(
    cases: Sequence[Scene],
    videos: Sequence[np.ndarray] | np.ndarray,
    tracker: Tracker,
    resamples: int = 2000,
) -> dict[str, Any]:
    """Measures videos (uint8 [f h w 3] per case) against what was asked for. Plain values, ready
    for JSON.

    Means are over subjects; intervals of confidence (95%) resample whole clips. A subject that is
    never seen counts: t-IOU 0, t-L2 1, identity wrong; the tracker has nothing else to measure of
    it. Raises DataError for a video of another length than its case.
    """
    if len(cases) != len(videos):
        raise DataError(f"{len(cases)} cases but {len(videos)} videos")
    rows = [
        row
        for case, video in zip(cases, videos, strict=True)
        for row in _rows(case, video, tracker)
    ]
    titles = measures(tracker)
    asked = [row["asked"] for row in rows]
    durations = [row["n_frames"] for row in rows]
    unit = [[(s / n, e / n) for s, e in spans] for spans, n in zip(asked, durations, strict=True)]
    return {
        "clips": len(cases),
        "subjects": len(rows),
        "measures": titles,
        "notes": dict(tracker.notes),
        "overall": summarise(rows, titles, resamples),
        "baselines": {
            "always_present": metrics.always_present(unit),
            "middle_half": metrics.constant(unit, (0.25, 0.75)),
        },
        "correlation": correlations(rows),
        "groups": {name: summarise(part, titles, resamples) for name, part in groups(rows)},
        "rows": rows,
    }


def _similar(looks: Sequence[str]) -> bool:
    """Whether the looks of two subjects of a case share a word."""
    words = [set(look.split()) for look in looks]
    return any(a & b for a, b in itertools.combinations(words, 2))


def _untimed(case: Scene) -> Scene:
    """What a tracker is told: who is to be looked for, but not when."""
    subjects = (dataclasses.replace(subject, spans=Spans()) for subject in case.subjects)
    return dataclasses.replace(case, subjects=tuple(subjects), events=())


def _rows(case: Scene, video: np.ndarray, tracker: Tracker) -> Iterator[dict[str, Any]]:
    clock = case.clock
    if len(video) != clock.frames:
        raise DataError(
            f"case {case.id}: the video has {len(video)} frames, but {clock.frames} were asked for"
        )
    sightings = tracker.track(video, _untimed(case))
    looks = [str(sighting.asked) for sighting in sightings]
    alike = _similar(looks)
    for i, (sighting, subject) in enumerate(zip(sightings, case.subjects, strict=True)):
        asked, shown = subject.spans, sighting.spans
        true = metrics.presence(asked, clock.frames)
        iou = metrics.t_iou(shown, asked)
        yield {
            "case": case.id,
            "subject": i,
            "subjects": len(looks),
            "similar": alike,
            "word": subject.word,
            "n_frames": clock.frames,
            "fps": clock.fps,
            "asked": [list(span) for span in asked],
            "shown": [list(span) for span in shown],
            "asked_seconds": [list(span) for span in clock.seconds(asked)],
            "shown_seconds": [list(span) for span in clock.seconds(shown)],
            "asked_look": looks[i],
            "seen_look": None if sighting.seen is None else str(sighting.seen),
            "t_iou": iou,
            "t_l2": metrics.t_l2(shown, asked, clock.frames),
            "frame_iou": metrics.frame_iou(sighting.presence, true),
            "presence": metrics.presence_rate(sighting.presence, true),
            "absence": metrics.absence_rate(sighting.presence, true),
            "detected": float(bool(shown)),
            "identity": float(sighting.identity),
            **{name: sighting.figures[name] for name in tracker.measures},
            **{f"recall_{at}": float(iou >= at) for at in metrics.RECALLS},
        }


def groups(rows: list[dict[str, Any]]) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Subjects by how many share the board, whether these are alike, and how often they appear."""
    for count in sorted({row["subjects"] for row in rows}):
        yield (
            f"{count} subject{'s' * (count > 1)}",
            [row for row in rows if row["subjects"] == count],
        )
    several = [row for row in rows if row["subjects"] > 1]
    yield "similar subjects", [row for row in several if row["similar"]]
    yield "dissimilar subjects", [row for row in several if not row["similar"]]
    yield "one interval", [row for row in rows if len(row["asked"]) == 1]
    yield "several intervals", [row for row in rows if len(row["asked"]) > 1]


def correlations(rows: list[dict[str, Any]]) -> dict[str, float]:
    """How the moments and lengths shown follow those asked for, over single intervals seen."""
    timed = [row for row in rows if row["shown"] and len(row["asked"]) == 1]
    pairs = [(metrics.span(row["asked"]), metrics.span(row["shown"])) for row in timed]
    ends = np.array(pairs, np.float64).reshape(-1, 2, 2)  # [row, asked or shown, start or end]
    mid, length = ends.mean(-1), ends[..., 1] - ends[..., 0]
    return {
        "midpoint": metrics.correlation(mid[:, 0], mid[:, 1]),
        "length": metrics.correlation(length[:, 0], length[:, 1]),
        "subjects": len(timed),
    }


def summarise(
    rows: list[dict[str, Any]], measured: Iterable[str], resamples: int = 2000
) -> dict[str, Any]:
    """Means over subjects of the measures named, with the 95 % interval that resamples clips.

    `rows` are those of `score`, or of a report, where what is not known is None.
    """
    clips = [row["case"] for row in rows]
    summary: dict[str, Any] = {"clips": len(set(clips)), "subjects": len(rows)}
    for name in measured:
        values = np.array([row[name] for row in rows], np.float64)
        summary[name] = estimate(values, clips, resamples)
    return summary


def estimate(
    values: Float64[np.ndarray, " n"], clips: Sequence[str], resamples: int = 2000
) -> dict[str, float]:
    """Mean of what is known (not NaN), with the 95 % interval that resamples clips."""
    known = values[np.isfinite(values)]
    low, high = metrics.bootstrap_ci(values, clips, resamples)
    return {"mean": float(known.mean()) if known.size else float("nan"), "low": low, "high": high}
