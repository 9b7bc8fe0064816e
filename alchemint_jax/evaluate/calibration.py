"""How far whoever measures can be trusted: known faults put in, and what is measured of them.

On clips of which is known what they show, every figure of a faulty clip is known too: it is that of
the truth, with the fault, against what was asked for. What a tracker measures is held against it,
fault by fault: a slope of 1 and a bias of 0 are best.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from alchemint_jax import media, results
from alchemint_jax.errors import DataError
from alchemint_jax.evaluate import boundaries, faults, metrics, recovery, scores
from alchemint_jax.evaluate.asks import Ask
from alchemint_jax.evaluate.calibration_page import render_calibration
from alchemint_jax.evaluate.clip import Clip
from alchemint_jax.evaluate.faults import Faulty, Truth
from alchemint_jax.evaluate.tracker import Sighting, Tracker
from alchemint_jax.evaluate.videos import find_videos
from alchemint_jax.progress import Progress
from alchemint_jax.scene.clock import Clock
from alchemint_jax.scene.scene import Scene
from alchemint_jax.scene.spans import Spans

NAME, PAGE = "calibration.json", "calibration.html"
SIDE = 640  # pixels, the longest side of clips that faults are put into
_MIDDLE = {
    **dict.fromkeys(("always", "never", "wrong subject"), (1.0,)),
    **{"late": (4.0,), "gap": (1.0,), "faded": (0.5,), "half out": (0.5,)},
}
"""The amounts that a second judge sees."""
Row = dict[str, Any]


def of_videos(folder: str | os.PathLike[str], asks: Sequence[Ask]) -> list[Truth]:
    """Clips of a folder, of which boards tell the truth.

    Raises:
        DataError: a video is missing, or broken.
    """
    found, _ = find_videos(folder, [ask.id for ask in asks])
    truths = []
    for ask in asks:
        if len(found[ask.id]) != 1:
            raise DataError(f"{folder}: there is no video {ask.id}.mp4, or more than one")
        try:
            clip = Clip(found[ask.id][0], SIDE)
        except DataError as error:
            raise DataError(f"{found[ask.id][0]}: {error}") from error
        truths.append(Truth(ask.scene(clip.fps, len(clip)), np.asarray(clip)))
    return truths


def calibrate(
    truths: Sequence[Truth],
    tracker: Tracker,
    *,
    settings: Mapping[str, Any] | None = None,
    second: Tracker | None = None,
    thresholds: bool = True,
    progress: bool = True,
    resamples: int = 1000,
) -> dict[str, Any]:
    """Puts faults into clips, and holds what is measured against what was put in.

    Args:
        truths: the clips.
        tracker: who measures. If it has `variations`, trackers with another threshold by name of
            the threshold, curves of them are measured too.
        settings: what the report is to say of how it was made.
        second: somebody else who measures the same, one amount of each fault, to see what depends
            on who does.
        thresholds: whether to measure those curves.
        progress: whether to say how far it is.
        resamples: of the intervals of confidence, which resample clips.

    Returns:
        Plain values: see the guide.

    Raises:
        DataError: there are no clips, or none of a subject.

    Examples:
        >>> from types import SimpleNamespace
        >>> from alchemint_jax.evaluate.calibration import Truth
        >>> from alchemint_jax.scene import Clock, Scene, Spans, Subject
        >>> white = np.full((1, 8, 8, 3), 255, np.uint8)
        >>> spans = Spans([(2, 7)])
        >>> scene = Scene("a", "a disc", Clock(8.0, 9, 4), (Subject("disc", spans, white),))
        >>> video = np.zeros((9, 16, 16, 3), np.uint8)
        >>> video[2:7, 4:12, 4:12] = 255
        >>> def track(video, case):
        ...     seen = np.asarray(video).max((1, 2, 3)) > 128
        ...     return [al.evaluate.Sighting(seen, "disc", "disc") for _ in case.subjects]
        >>> tracker = SimpleNamespace(
        ...     measures={}, notes={}, check=lambda image: None, track=track
        ... )
        >>> report = al.evaluate.calibrate([Truth(scene, video)], tracker, progress=False)
        >>> report["faults"]["late"]["slope"]["mean"]
        1.0

    Source:
        This repository.
    """
    if not any(truth.scene.subjects for truth in truths):
        raise DataError("there are no clips with subjects to calibrate with")
    rows: list[Row] = []
    others: list[Row] = []
    curves: dict[str, dict[str, list[Row]]] = {}
    strangers = _strangers(truths)
    with Progress(len(truths), "calibrating", quiet=not progress) as bar:
        for number, truth in enumerate(truths):
            plain = _rows(truth, _plain(truth), tracker)
            boxes = {row["subject"]: row.pop("boxes") for row in plain if row["boxes"] is not None}
            every = list(faults.all_faults(truth, boxes, strangers[number]))
            rows += [*plain, *(row for one in every for row in _rows(truth, one, tracker))]
            if second is not None:
                few = [_plain(truth), *(one for one in every if one.amount in _MIDDLE[one.fault])]
                others += [row for one in few for row in _rows(truth, one, second)]
            for name, values in (getattr(tracker, "variations", {}) if thresholds else {}).items():
                for value, other in values:
                    line = curves.setdefault(name, {}).setdefault(f"{value:g}", [])
                    line += _rows(truth, _plain(truth), other)
            bar.update(number + 1)
    report = {
        "settings": dict(settings or {}),
        "clips": len(truths),
        "subjects": sum(len(truth.scene.subjects) for truth in truths),
        "truth": recovery.of_truth(rows, resamples),
        "faults": recovery.of_faults(rows, resamples),
        "thresholds": {
            name: {value: recovery.of_truth(found, resamples) for value, found in lines.items()}
            for name, lines in curves.items()
        },
    }
    if second is not None:
        report["second"] = {
            "truth": recovery.of_truth(others, resamples),
            "faults": recovery.of_faults(others, resamples),
        }
        report["agreement"] = recovery.agreement(rows, others)
    return report


def save(report: Mapping[str, Any], out: str | os.PathLike[str]) -> None:
    """Writes DIR/calibration.json and a page of it, each whole or not at all."""
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    results.write_json(folder / NAME, dict(report))
    media.write_bytes(folder / PAGE, render_calibration(report).encode())


def lines(report: Mapping[str, Any]) -> Iterator[str]:
    """The report for people."""
    truth = report["truth"]
    yield f"{report['clips']} clips, {report['subjects']} subjects"
    for name in ("t_iou", "frame_iou", "identity"):
        one = truth[name]
        yield f"{name} of the truth: {one['mean']:.3f} ({one['low']:.3f} to {one['high']:.3f})"
    for end in ("start", "end"):
        text = "{}s: bias {bias:+.3f} s, median {median:.3f} s, 90 % within {p90:.3f} s"
        yield text.format(end, **truth["boundaries"][end])
    for name, one in report["faults"].items():
        text = f"{name} ({one['figure']}): "
        if one["slope"] is not None and np.isfinite(one["slope"]["mean"]):
            text += "slope {mean:.3f} ({low:.3f} to {high:.3f}), ".format(**one["slope"])
        if one["bias"] is not None:
            text += "bias {mean:+.3f} ({low:+.3f} to {high:+.3f}), ".format(**one["bias"])
        if one.get("half") is not None:
            text += f"seen in half of the frames at {one['half']:.2f}, "
        yield text + f"n {one['cases']}; {_verdict(one['within'])}"


def _verdict(within: Mapping[str, bool]) -> str:
    outside = [amount for amount, fine in within.items() if not fine]
    if not outside:
        return "within bounds"
    return f"not within bounds: {', '.join(outside)}"


def _plain(truth: Truth) -> Faulty:
    """A clip without a fault."""
    return Faulty("none", 0.0, truth.video, truth.presence, range(len(truth.scene.subjects)))


def _strangers(truths: Sequence[Truth]) -> list[dict[int, Scene]]:
    """By clip and subject, the scene that asks for somebody else's picture under its word."""
    pictures = [
        (t, i, s.pictures)
        for t, truth in enumerate(truths)
        for i, s in enumerate(truth.scene.subjects)
    ]
    found: list[dict[int, Scene]] = []
    for t, truth in enumerate(truths):
        mine: dict[int, Scene] = {}
        elsewhere = [p for n, _, p in pictures if n != t]
        for i, subject in enumerate(truth.scene.subjects):
            # Of a single clip, the others in it.
            others = elsewhere or [p for _, k, p in pictures if k != i]
            if not others:
                break
            stranger = others[(t + i) % len(others)]
            subjects = list(truth.scene.subjects)
            subjects[i] = dataclasses.replace(subject, pictures=stranger)
            mine[i] = dataclasses.replace(truth.scene, subjects=tuple(subjects))
        found.append(mine)
    return found


def _rows(truth: Truth, faulty: Faulty, tracker: Tracker) -> list[Row]:
    """What was put in and what is measured, for each subject that the fault is about."""
    scene = faulty.scene or truth.scene
    told = scores.untimed(dataclasses.replace(scene, size=faulty.video.shape[1:3]))
    seen = tracker.track(faulty.video, told)
    rows = []
    for i in faulty.subjects:
        asked = truth.scene.subjects[i].spans
        if faulty.fault == "half out":  # what is asked is where the picture was moved
            asked = Spans.where(faulty.presence[i])
        here = truth.presence[i] if faulty.fault in ("faded", "half out") else faulty.presence[i]
        fps = float(truth.scene.clock.fps)
        rows.append(
            {
                "fault": faulty.fault,
                "amount": float(faulty.amount),
                "case": truth.scene.id,
                "subject": i,
                "fps": fps,
                "inserted": _figures(here, asked, fps),
                "measured": _figures(seen[i].presence, asked, fps),
                "identity": float(seen[i].identity),
                "likeness": _likeness(seen[i], i),
                "boxes": seen[i].boxes,
                "errors": boundaries.boundary_errors(seen[i].spans, Spans.where(here), fps),
                "moved": _moved(Spans.where(here), seen[i].spans, asked, fps),
            }
        )
    return rows


def _moved(here: Spans, seen: Spans, asked: Spans, fps: float) -> list[list[float]] | None:
    """How far each boundary that has moved is from where it was asked for, and was measured.

    None where not as many appearances were measured.
    """
    put, got = (boundaries.boundary_errors(spans, asked, fps) for spans in (here, seen))
    if len(put[0]) != len(got[0]):
        return None
    pairs = zip([*put[0], *put[1]], [*got[0], *got[1]], strict=True)
    return [[a, b] for a, b in pairs if a]


def _likeness(sighting: Sighting, number: int) -> float:
    if sighting.likeness is None or not np.isfinite(sighting.likeness[:, number]).any():
        return float("nan")
    return float(np.nanmean(sighting.likeness[:, number]))


def _figures(here: np.ndarray, asked: Spans, fps: float) -> dict[str, float]:
    spans, true = Spans.where(here), metrics.presence(asked, len(here))
    starts, ends = boundaries.boundary_errors(spans, asked, fps)
    errors = starts + ends
    return {
        "t_iou": metrics.t_iou(spans, asked),
        "frame_iou": metrics.frame_iou(here, true),
        "presence": metrics.presence_rate(here, true),
        "absence": metrics.absence_rate(here, true),
        "detected": float(bool(spans)),
        "appearances": float(len(spans)),
        "late": float(np.mean(errors)) if errors else float("nan"),
        "missing_seconds": Clock(fps, 1, 1).second(int((true & ~here).sum())),
        "extra_seconds": Clock(fps, 1, 1).second(int((here & ~true).sum())),
        "seconds": Clock(fps, 1, 1).second(int(here.sum())),
    }
