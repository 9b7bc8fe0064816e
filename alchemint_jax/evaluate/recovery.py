"""What is measured of known faults, held against what was put in. Pure functions on rows.

A row is of one subject in one clip, faulty or not: the figures of what was `inserted` and of what
was `measured`, against what was asked for.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from alchemint_jax.evaluate import boundaries, metrics, scores

KEY = {
    "late": "late",
    "gap": "missing_seconds",
    "always": "extra_seconds",
    "never": "detected",
    "wrong subject": "identity",
    "faded": "presence",
    "half out": "presence",
}
"""The figure that each fault is about."""
SLOPE, SECONDS = 0.05, 0.1
"""How far a slope may be from 1, and a time from what was put in; or by one frame, if longer."""
SHOWN = 0.5
"""The share of a subject from which on it counts as on screen; of less nobody could say."""
Row = dict[str, Any]


def of_truth(rows: Sequence[Row], resamples: int) -> dict[str, Any]:
    """What is measured of clips without a fault."""
    some = [row for row in rows if row["fault"] == "none"]
    clips = [row["case"] for row in some]
    found: dict[str, Any] = {
        name: scores.estimate(np.array([r["measured"][name] for r in some]), clips, resamples)
        for name in ("t_iou", "frame_iou", "presence", "absence", "detected")
    }
    for name in ("identity", "likeness"):
        found[name] = scores.estimate(np.array([r[name] for r in some]), clips, resamples)
    found["boundaries"] = {
        end: boundaries.summary([row["errors"][k] for row in some])
        for k, end in enumerate(("start", "end"))
    }
    frames = [[error * row["fps"] for some in row["errors"] for error in some] for row in some]
    found["boundaries"]["frames"] = boundaries.summary(frames)
    noise = [{"case": r["case"], "t_iou": r["measured"]["t_iou"] - 1} for r in some]
    found["smallest_difference"] = scores.smallest_differences(noise, ["t_iou"])["t_iou"]
    return found


def of_faults(rows: Sequence[Row], resamples: int) -> dict[str, Any]:
    """Measured against inserted, by fault."""
    found = {}
    for fault, figure in KEY.items():
        some = [row for row in rows if row["fault"] == fault]
        if some:
            found[fault] = _fault(fault, figure, some, resamples)
    return found


def _fault(fault: str, figure: str, rows: Sequence[Row], resamples: int) -> dict[str, Any]:
    lost = 0
    if figure == "late":  # boundary by boundary: those at the ends of a clip do not move
        lost = sum(row["moved"] is None for row in rows)
        rows = [{**row, "pair": pair} for row in rows for pair in row["moved"] or ()]
        put, got = np.array([row["pair"] for row in rows]).reshape(-1, 2).T
    elif figure == "identity":  # a stranger is not who was asked for
        put, got = np.zeros(len(rows)), np.array([row["identity"] for row in rows])
    else:
        put, got = (np.array([r[k][figure] for r in rows]) for k in ("inserted", "measured"))
    clips = [row["case"] for row in rows]
    amounts = sorted({row["amount"] for row in rows})
    longer = np.array([r["measured"]["seconds"] - r["inserted"]["seconds"] for r in rows])
    known = np.isfinite(put) & np.isfinite(got)
    curve = {
        f"{amount:g}": {
            "inserted": _mean(put[np.array([r["amount"] == amount for r in rows]) & known]),
            "measured": _mean(got[np.array([r["amount"] == amount for r in rows]) & known]),
            "seconds": _mean(longer[np.array([r["amount"] == amount for r in rows])]),
        }
        for amount in amounts
    }
    compared = figure != "presence"  # what is faint or cut off is there, but not plain to see
    unit = "s" if figure in ("late", "missing_seconds", "extra_seconds") else "share"
    report: dict[str, Any] = {
        "figure": figure,
        "unit": unit,
        "cases": len(rows),
        "lost": lost + int((~known).sum()),
        "curve": curve,
        "bias": scores.estimate(got - put, clips, resamples) if compared else None,
        "slope": None,
    }
    if not compared:
        report["half"] = half({float(x): one["measured"] for x, one in curve.items()})
    if compared and len(amounts) > 1:
        report["slope"] = _slope(
            put[known],
            got[known],
            [row for row, is_known in zip(rows, known, strict=True) if is_known],
            resamples,
        )
    if fault == "late":
        frames = np.array([row["fps"] for row in rows])
        report["bias_frames"] = scores.estimate((got - put) * frames, clips, resamples)
    frame = max((1 / row["fps"] for row in rows), default=0.0)
    plain = [amount for amount in curve if shown_share(fault, float(amount)) >= SHOWN]
    return {**report, "within": _within(report, plain, max(SECONDS, frame) + 1e-9)}


def shown_share(fault: str, amount: float) -> float:
    """How much there is to be seen of a subject that is on screen: its opacity, or what is inside.

    Args:
        fault: its name.
        amount: of it.
    """
    return {"faded": amount, "half out": 1 - amount}.get(fault, 1.0)


def half(seen: Mapping[float, float]) -> float | None:
    """The amount at which a subject is seen in half of the frames, linear between those tried.

    None where it is seen in more than half at all of them, or in less at all of them.

    Args:
        seen: share of the frames in which it is seen, by amount.
    """
    amounts = sorted(seen)
    for a, b in itertools.pairwise(amounts):
        low, high = seen[a] - 0.5, seen[b] - 0.5
        if low * high <= 0 and low != high:
            return a + (b - a) * low / (low - high)
    return None


def _within(report: Mapping[str, Any], plain: Sequence[str], most: float) -> dict[str, bool]:
    """Whether a fault is measured as it is: its slope, and its bias or that of each amount of it.

    A bias is one of the figure where that is a time, and else of the time on screen, for those
    amounts in which the subject is plain to see. Whoever is not asked for must not be taken for
    somebody else.
    """
    found = {}
    if report["slope"] is not None and np.isfinite(report["slope"]["mean"]):
        found["slope"] = abs(report["slope"]["mean"] - 1) <= SLOPE
    if report["unit"] == "s":
        return {**found, "bias": bool(abs(report["bias"]["mean"]) <= most)}
    if report["figure"] == "identity":
        return {"bias": bool(abs(report["bias"]["mean"]) <= SLOPE)}
    return {amount: bool(abs(report["curve"][amount]["seconds"]) <= most) for amount in plain}


def _slope(
    put: np.ndarray, got: np.ndarray, rows: Sequence[Row], resamples: int
) -> dict[str, float]:
    """Least squares of measured on inserted, each less its mean for the subject.

    Its interval resamples clips.
    """
    subjects = [(row["case"], row["subject"]) for row in rows]
    order = {name: i for i, name in enumerate(dict.fromkeys(subjects))}
    member = np.array([order[name] for name in subjects])
    counts = np.bincount(member)
    x, y = (v - (np.bincount(member, v) / counts)[member] for v in (put, got))
    clips = np.unique([row["case"] for row in rows], return_inverse=True)[1]
    xx, xy = np.bincount(clips, x * x), np.bincount(clips, x * y)
    if not xx.sum():
        return {"mean": np.nan, "low": np.nan, "high": np.nan}
    picks = np.random.default_rng(0).integers(0, len(xx), (resamples, len(xx)))
    below = xx[picks].sum(1)
    slopes = xy[picks].sum(1)[below > 0] / below[below > 0]
    low, high = np.quantile(slopes, [0.025, 0.975])
    return {"mean": float(xy.sum() / xx.sum()), "low": float(low), "high": float(high)}


def agreement(rows: Sequence[Row], others: Sequence[Row]) -> dict[str, float]:
    """How alike two judges are: of subjects, and of the faults as systems to be ranked."""

    def name(row: Row) -> tuple[Any, ...]:
        return tuple(row[key] for key in ("fault", "amount", "case", "subject"))

    known = {name(row): row for row in rows}
    pairs = [(known[name(row)], row) for row in others]
    a, b = (np.array([pair[k]["measured"]["t_iou"] for pair in pairs]) for k in (0, 1))
    kinds = [row["fault"] for row in others]
    means = [
        [float(np.mean([v for v, k in zip(x, kinds, strict=True) if k == kind])) for x in (a, b)]
        for kind in sorted(set(kinds))
    ]
    one, two = np.array(means).T
    return {
        "mean_difference": float(np.abs(a - b).mean()),
        "correlation": metrics.correlation(a, b),
        "kendall": metrics.kendall(one, two),
    }


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else float("nan")
