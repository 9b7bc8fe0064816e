"""Scores of videos against the cases that asked for them.

`score` is a pure function of cases and videos, so that a dataset's own clips can be scored as a
perfect model would be. It measures with the sprites tracker: videos of other worlds cannot be.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float64

from alchemint_jax.errors import DataError
from alchemint_jax.evaluate import metrics
from alchemint_jax.worlds.sprites import tracker
from alchemint_jax.worlds.sprites.cases import Case

MEASURES = {
    "t_iou": "t-IOU",
    "t_l2": "t-L2",
    "frame_iou": "frame IoU",
    "presence": "presence rate",
    "absence": "absence rate",
    "detected": "detected",
    "identity": "identity",
    "likeness": "likeness",
    **{f"recall_{at}": f"R@{at}" for at in metrics.RECALLS},
}


def score(
    cases: Sequence[Case], videos: Sequence[np.ndarray] | np.ndarray, resamples: int = 2000
) -> dict[str, Any]:
    """Measures videos (uint8 [f h w 3] per case) against what was asked for. Plain values, ready
    for JSON.

    Means are over subjects; intervals of confidence (95%) resample whole clips. A subject that is
    never seen counts: t-IOU 0, t-L2 1, identity wrong; it has no likeness. Raises DataError for a
    video of another length than its case.
    """
    if len(cases) != len(videos):
        raise DataError(f"{len(cases)} cases but {len(videos)} videos")
    rows = [row for case, video in zip(cases, videos, strict=True) for row in _rows(case, video)]
    asked = [row["asked"] for row in rows]
    durations = [row["n_frames"] for row in rows]
    unit = [[(s / n, e / n) for s, e in spans] for spans, n in zip(asked, durations, strict=True)]
    return {
        "clips": len(cases),
        "subjects": len(rows),
        "overall": summarise(rows, resamples),
        "baselines": {
            "always_present": metrics.always_present(unit),
            "middle_half": metrics.constant(unit, (0.25, 0.75)),
        },
        "correlation": correlations(rows),
        "groups": {name: summarise(part, resamples) for name, part in groups(rows)},
        "rows": rows,
    }


def similar(kinds: Sequence[tracker.Kind]) -> bool:
    """Whether two subjects of a board have one shape or one colour."""
    return any(
        a.shape == b.shape or a.color == b.color for a, b in itertools.combinations(kinds, 2)
    )


def _rows(case: Case, video: np.ndarray) -> Iterator[dict[str, Any]]:
    if len(video) != case.n_frames:
        raise DataError(
            f"case {case.id}: the video has {len(video)} frames, asked for were {case.n_frames}"
        )
    sightings = tracker.track(video, list(case.references))
    kinds = [sighting.asked for sighting in sightings]
    alike = similar(kinds)
    for i, (sighting, asked) in enumerate(zip(sightings, case.intervals, strict=True)):
        true = metrics.presence(asked, case.n_frames)
        iou = metrics.t_iou(sighting.intervals, asked)
        yield {
            "case": case.id,
            "subject": i,
            "subjects": len(kinds),
            "similar": alike,
            "word": case.words[i],
            "n_frames": case.n_frames,
            "asked": [list(span) for span in asked],
            "shown": [list(span) for span in sighting.intervals],
            "asked_look": " ".join(reversed(sighting.asked)),
            "seen_look": " ".join(reversed(sighting.seen)) if sighting.seen else None,
            "t_iou": iou,
            "t_l2": metrics.t_l2(sighting.intervals, asked, case.n_frames),
            "frame_iou": metrics.frame_iou(sighting.presence, true),
            "presence": metrics.presence_rate(sighting.presence, true),
            "absence": metrics.absence_rate(sighting.presence, true),
            "detected": float(bool(sighting.intervals)),
            "identity": float(sighting.identity),
            "likeness": sighting.likeness,
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


def summarise(rows: list[dict[str, Any]], resamples: int = 2000) -> dict[str, Any]:
    """Mean of each measure over subjects, with the 95 % interval that resamples clips.

    `rows` are those of `score`, or of a report, where what is not known is None.
    """
    clips = [row["case"] for row in rows]
    summary: dict[str, Any] = {"clips": len(set(clips)), "subjects": len(rows)}
    for name in MEASURES:
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
