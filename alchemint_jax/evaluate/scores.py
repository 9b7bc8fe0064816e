"""Scores of videos against the cases that asked for them.

`score` is a pure function of cases and videos, so that a dataset's own clips can be scored as a
perfect model would be. A `Tracker` says what is on screen when.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float64

from alchemint_jax.errors import DataError
from alchemint_jax.evaluate import boundaries, identity, metrics
from alchemint_jax.evaluate.tracker import Sighting, Tracker
from alchemint_jax.scene.scene import Scene
from alchemint_jax.scene.spans import Spans

_TIMED = {
    "t_iou": "t-IOU",
    "t_l2": "t-L2",
    "frame_iou": "frame IoU",
    "boundary": "boundary error (s)",
    "presence": "presence rate",
    "absence": "absence rate",
    "detected": "detected",
    "appearances": "appearances right",
    "identity": "identity",
}
_ALIKE = {
    "identity_inside": "identity inside",
    "leak": "leak",
    "confusion": "confusion",
}
_RECALLS = {f"recall_{at}": f"R@{at}" for at in metrics.RECALLS}
LESS_IS_BETTER = ("t_l2", "boundary", "leak", "confusion")
"""Of all other figures, more is better."""
_FACTOR = 1.96 + 0.84  # of a standard error: seen by a test at 5 % in 80 % of cases
T_L2 = "root mean square over start and end, as a fraction of the duration"
"""How t-L2 is defined here, which reports say."""


def measures(tracker: Tracker) -> dict[str, str]:
    """Titles of what is measured, by name: what is always, and what this tracker can give."""
    return {**_TIMED, **tracker.measures, **_ALIKE, **_RECALLS}


def score(
    cases: Sequence[Scene],
    videos: Sequence[np.ndarray] | np.ndarray,
    tracker: Tracker,
    resamples: int = 2000,
) -> dict[str, Any]:
    """Measures videos against what was asked for.

    Means are over subjects; intervals of confidence (95%) resample whole clips. A subject that is
    never seen counts: t-IOU 0, t-L2 1, identity wrong; the tracker has nothing else to measure of
    it.

    Args:
        cases: what was asked for.
        videos: uint8 [f h w 3] of each case.
        tracker: who measures.
        resamples: of the intervals of confidence.

    Returns:
        The report, as plain values that are ready for JSON: see the guide on evaluation.

    Raises:
        DataError: there are more or fewer videos than cases, or one has another length than its
            case.

    Examples:
        >>> from types import SimpleNamespace
        >>> from alchemint_jax.scene import Clock, Scene, Spans, Subject
        >>> scene = Scene("a", "a disc", Clock(8.0, 5, 4), (Subject("disc", Spans([(1, 4)])),))
        >>> seen = al.evaluate.Sighting(np.arange(5) >= 2, "disc", "disc")
        >>> tracker = SimpleNamespace(
        ...     measures={},
        ...     notes={},
        ...     check=lambda image: None,
        ...     track=lambda video, case: [seen],
        ... )
        >>> report = al.evaluate.score([scene], np.zeros((1, 5, 16, 16, 3), np.uint8), tracker)
        >>> report["overall"]["t_iou"]["mean"]
        0.5

    Source:
        t-IOU and t-L2 are those of AlcheMinT, arXiv 2512.10943; the rest is this repository's.
    """
    if len(cases) != len(videos):
        raise DataError(f"{len(cases)} cases but {len(videos)} videos")
    rows: list[dict[str, Any]] = []
    for case, video in zip(cases, videos, strict=True):
        if len(video) != case.clock.frames:
            raise DataError(
                f"case {case.id}: the video has {len(video)} frames, but {case.clock.frames} were "
                "asked for"
            )
        rows += measure(case, video, tracker)
    return summarised(rows, measures(tracker), tracker.notes, resamples)


def summarised(
    rows: list[dict[str, Any]],
    titles: Mapping[str, str],
    notes: Mapping[str, str],
    resamples: int = 2000,
) -> dict[str, Any]:
    """The report of the rows of all clips: means, groups, baselines, and how small a difference
    so many clips can show.

    Args:
        rows: those that `measure` and `missing` make.
        titles: of what is measured, as `measures` gives them.
        notes: of the tracker.
        resamples: of the intervals of confidence.
    """
    asked = [row["asked"] for row in rows]
    durations = [row["n_frames"] for row in rows]
    unit = [[(s / n, e / n) for s, e in spans] for spans, n in zip(asked, durations, strict=True)]
    return {
        "clips": len({row["case"] for row in rows}),
        "subjects": len(rows),
        "measures": dict(titles),
        "less_is_better": list(LESS_IS_BETTER),
        "notes": dict(notes),
        "overall": summarise(rows, titles, resamples),
        "boundaries": {
            end: boundaries.summary([row[f"{end}_errors"] for row in rows])
            for end in ("start", "end")
        },
        "smallest_difference": smallest_differences(rows, titles),
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


def untimed(case: Scene) -> Scene:
    """What a tracker is told: who is to be looked for, but not when."""
    subjects = (dataclasses.replace(subject, spans=Spans()) for subject in case.subjects)
    return dataclasses.replace(case, subjects=tuple(subjects), events=())


def measure(case: Scene, video: Any, tracker: Tracker) -> Iterator[dict[str, Any]]:
    """A row for each subject of a case: what was asked for, what a clip shows, and all figures.

    Args:
        case: the scene that was asked for, at the rate of the video.
        video: uint8 [f h w 3], or a `clip.Clip` where the tracker streams. Where it is shorter than
            the case, nobody is on screen in the frames that it lacks.
        tracker: who watches it.
    """
    clock = case.clock
    told = dataclasses.replace(clock, frames=len(video))
    sightings = [
        _padded(sighting, int(clock.frames))
        for sighting in tracker.track(video, dataclasses.replace(untimed(case), clock=told))
    ]
    looks = [str(sighting.asked) for sighting in sightings]
    alike = _similar(looks)
    for i, (sighting, subject) in enumerate(zip(sightings, case.subjects, strict=True)):
        asked, shown = subject.spans, sighting.spans
        true = metrics.presence(asked, clock.frames)
        iou = metrics.t_iou(shown, asked)
        starts, ends = boundaries.boundary_errors(shown, asked, float(clock.fps))
        yield {
            **_said(case, i, looks[i], alike),
            "status": "ok",
            "remark": sighting.remark,
            "shown": [list(span) for span in shown],
            "shown_seconds": [list(span) for span in clock.seconds(shown)],
            "seen_look": None if sighting.seen is None else str(sighting.seen),
            "start_errors": starts,
            "end_errors": ends,
            "t_iou": iou,
            "t_l2": metrics.t_l2(shown, asked, clock.frames),
            "frame_iou": metrics.frame_iou(sighting.presence, true),
            "boundary": float(np.mean(np.abs(starts + ends))) if starts else float("nan"),
            "presence": metrics.presence_rate(sighting.presence, true),
            "absence": metrics.absence_rate(sighting.presence, true),
            "detected": float(bool(shown)),
            "appearances": float(len(shown) == len(asked)),
            "identity": float(sighting.identity) if sighting.told else float("nan"),
            **_identities(sighting.likeness if sighting.told else None, i, true),
            **{name: sighting.figures[name] for name in tracker.measures},
            **{f"recall_{at}": float(iou >= at) for at in metrics.RECALLS},
        }


def _padded(sighting: Sighting, frames: int) -> Sighting:
    """What was seen, with nobody in the frames that a video lacks."""
    more = frames - len(sighting.presence)
    if not more:
        return sighting

    def longer(values: np.ndarray | None) -> np.ndarray | None:
        if values is None:
            return None
        return np.pad(values, ((0, more), (0, 0)), constant_values=np.nan)

    return dataclasses.replace(
        sighting,
        presence=np.pad(sighting.presence, (0, more)),
        likeness=longer(sighting.likeness),
        boxes=longer(sighting.boxes),
    )


def missing(case: Scene, titles: Iterable[str], reason: str) -> Iterator[dict[str, Any]]:
    """The rows of a case without a video that can be measured: every rate is 0, t-L2 is 1.

    That holds for absence, too, or a system would gain by what it does not deliver. What has no
    worst value (the boundary error) is not known.
    """
    looks = [subject.word for subject in case.subjects]
    alike = _similar(looks)
    for i in range(len(looks)):
        yield {
            **_said(case, i, looks[i], alike),
            "status": "missing",
            "remark": reason,
            "shown": [],
            "shown_seconds": [],
            "seen_look": None,
            "start_errors": [],
            "end_errors": [],
            **{name: float("nan") if name in LESS_IS_BETTER else 0.0 for name in titles},
            "t_l2": 1.0,
        }


def _said(case: Scene, number: int, look: str, similar: bool) -> dict[str, Any]:
    """What was asked for."""
    clock, subject = case.clock, case.subjects[number]
    return {
        "case": case.id,
        "subject": number,
        "subjects": len(case.subjects),
        "similar": similar,
        "word": subject.word,
        "n_frames": clock.frames,
        "fps": clock.fps,
        "asked": [list(span) for span in subject.spans],
        "asked_seconds": [list(span) for span in clock.seconds(subject.spans)],
        "asked_look": look,
    }


def _identities(likeness: np.ndarray | None, subject: int, asked: np.ndarray) -> dict[str, float]:
    if likeness is None:
        return dict.fromkeys(_ALIKE, float("nan"))
    return {
        "identity_inside": identity.identity_inside(likeness, subject, asked),
        "leak": identity.leak(likeness, subject, asked),
        "confusion": identity.confusion(likeness, subject),
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


def smallest_differences(rows: list[dict[str, Any]], measured: Iterable[str]) -> dict[str, float]:
    """The least difference between two systems that as many clips as these would show.

    That is, with a probability of 80 % at the 5 % level, if clips differ for both as they do here
    and the two are not paired; `compare` pairs them, and sees less. NaN for fewer than two clips.

    Source: the two-sample z test; its factor is 1.96 + 0.84.
    """
    clips = np.unique([row["case"] for row in rows], return_inverse=True)[1]
    found = {}
    for figure in measured:
        values = np.array([row[figure] for row in rows], np.float64)
        known = np.isfinite(values)
        counts = np.bincount(clips[known])
        sums = np.bincount(clips[known], values[known])
        means = sums[counts > 0] / counts[counts > 0]
        error = means.std(ddof=1) / np.sqrt(len(means)) if len(means) > 1 else np.nan
        found[figure] = float(_FACTOR * np.sqrt(2) * error)
    return found


def estimate(
    values: Float64[np.ndarray, " n"], clips: Sequence[str], resamples: int = 2000
) -> dict[str, float]:
    """Mean of what is known (not NaN), with the 95 % interval that resamples clips."""
    known = values[np.isfinite(values)]
    low, high = metrics.bootstrap_ci(values, clips, resamples)
    return {"mean": float(known.mean()) if known.size else float("nan"), "low": low, "high": high}
