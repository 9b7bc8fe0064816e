"""The page of scores over training steps: a curve for each figure, with its 95 % interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from alchemint_jax.evaluate.pages import page

Point = tuple[int, float, float, float]
"""A step, the mean, and the ends of its interval."""
Curves = Mapping[str, Sequence[Point]]
"""By the title of the figure."""
WIDE, TALL = 300, 120


def render_curves(curves: Curves, title: str, best: int | None, by: str) -> str:
    """The page as text; the dot of the step `best`, the best by the figure called `by`, is marked.

    Vertical axes begin at 0 and end at the largest value, or at 1 for figures below it.
    """
    last = max((points[-1][0] for points in curves.values()), default=1)
    return page(
        "curves.html",
        title=title,
        panels=[_panel(name, points, last) for name, points in curves.items()],
        last=last,
        best=best,
        by=by,
        wide=WIDE,
        tall=TALL,
    )


def _panel(name: str, points: Sequence[Point], last: int) -> dict[str, Any]:
    values = [value for point in points for value in point[1:]]
    top, bottom = max(1.0, *values), min(0.0, *values)

    def at(step: int, value: float) -> tuple[float, float]:
        return WIDE * step / last, TALL * (top - value) / (top - bottom)

    dots = [(*at(step, mean), step, mean) for step, mean, _, _ in points]
    band = [at(p[0], p[2]) for p in points] + [at(p[0], p[3]) for p in reversed(points)]
    return {
        "name": name,
        "dots": dots,
        "line": " ".join(f"{x:.1f},{y:.1f}" for x, y, _, _ in dots),
        "band": " ".join(f"{x:.1f},{y:.1f}" for x, y in band),
        "top": top,
        "bottom": bottom,
        "points": points,
    }
