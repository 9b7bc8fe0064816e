"""How late subjects come and go, in seconds: errors of starts and ends, appearance by appearance
(NumPy).

AlcheMinT's t-L2 is a fraction of the clip and of the span alone; here every appearance counts, and
its error has a sign: positive is late.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from alchemint_jax.evaluate.metrics import Number
from alchemint_jax.scene.clock import Clock
from alchemint_jax.scene.spans import Spans

Pair = tuple[Number, Number]


def boundary_errors(
    shown: Iterable[Pair], asked: Iterable[Pair], fps: Number = 1.0
) -> tuple[list[float], list[float]]:
    """How much later than asked each appearance starts, and how much later it ends.

    What was shown belongs to what was asked for where they overlap. Of intervals that hang together
    in this way, the first start and the last end count, so that flicker within an appearance is no
    error of its boundaries (`frame_iou` minds it). What overlaps nothing is paired with the nearest
    interval that overlaps nothing, if there is one. What is left was missed, or is one too many:
    it has no error.

    Args:
        shown: half-open intervals in which the subject was shown.
        asked: the same of what was asked for, in the same unit.
        fps: units per second: of frames their rate, of seconds 1.

    Returns:
        Errors of starts and of ends in seconds, one of each for each appearance that was found, in
        order of time.

    Raises:
        ValueError: `fps` is not positive.

    Examples:
        >>> al.evaluate.boundary_errors(shown=[(12, 30)], asked=[(8, 28)], fps=8)
        ([0.5], [0.25])

    Source:
        This repository; TIE reports a boundary error in seconds and prints no rule.
    """
    if not fps > 0:
        raise ValueError(f"fps must be positive, got {fps}")
    pairs = _matched(Spans(shown), Spans(asked))
    clock = Clock(fps, 1, 1)
    starts = [clock.second(got[0] - want[0]) for got, want in pairs]
    ends = [clock.second(got[1] - want[1]) for got, want in pairs]
    return starts, ends


def _matched(shown: Spans, asked: Spans) -> list[tuple[Pair, Pair]]:
    """The span shown and the span asked for of each appearance."""
    parts = _together(shown, asked)
    pairs = [(_span(some), _span(wanted)) for some, wanted in parts if some and wanted]
    free = [_span(some) for some, wanted in parts if not wanted]
    missed = [_span(wanted) for some, wanted in parts if not some]
    apart = sorted(
        (max(got[0], want[0]) - min(got[1], want[1]), i, j)
        for i, got in enumerate(free)
        for j, want in enumerate(missed)
    )
    used: set[int] = set()
    met: set[int] = set()
    for _, i, j in apart:
        if i not in used and j not in met:
            used.add(i)
            met.add(j)
            pairs.append((free[i], missed[j]))
    return sorted(pairs, key=lambda pair: pair[1])


def _together(shown: Spans, asked: Spans) -> list[tuple[list[Pair], list[Pair]]]:
    """Intervals shown and asked for that hang together by overlaps."""
    parts: list[tuple[list[Pair], list[Pair]]] = []
    end: Number = -np.inf
    every = sorted([(*one, 0) for one in shown] + [(*one, 1) for one in asked])
    for start, stop, whose in every:
        if start >= end:
            parts.append(([], []))
        parts[-1][whose].append((start, stop))
        end = stop if start >= end else max(end, stop)
    return parts


def _span(intervals: Sequence[Pair]) -> Pair:
    return intervals[0][0], max(end for _, end in intervals)


def summary(errors: Sequence[Sequence[float | int]]) -> dict[str, float | int]:
    """Of signed errors in seconds, by subject: bias, median and 90th percentile of their size.

    Args:
        errors: those of each subject.

    Returns:
        "errors", how many there are; "bias", their mean; "median" and "p90" of their absolute
        values. NaN where there is none.
    """
    flat = np.array([error for some in errors for error in some], np.float64)
    if not flat.size:
        return {"errors": 0, "bias": np.nan, "median": np.nan, "p90": np.nan}
    size = np.abs(flat)
    return {
        "errors": int(flat.size),
        "bias": float(flat.mean()),
        "median": float(np.median(size)),
        "p90": float(np.percentile(size, 90)),
    }
