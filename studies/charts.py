"""Means with their 95 % intervals, drawn as SVG text: arms of a study, curves over a setting."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

Estimate = Mapping[str, Any]
"""`mean`, `low` and `high`; None or NaN where it is not known."""

INK, QUIET, RULE, LINE = "#1f2937", "#6b7280", "#e5e7eb", "#1d4ed8"
LABEL, PANEL, GAP, ROW = 150, 128, 20, 20
TITLE, HEAD, FOOT, PAD = 26, 40, 24, 8
WIDE, TALL = 256, 100


def forest(
    blocks: Mapping[str, Mapping[str, Mapping[str, Estimate]]], title: str, baseline: str
) -> str:
    """One row per arm, one panel per figure: a dot, and a line for its interval.

    Args:
        blocks: drawn below each other under their names; each maps the heading of a panel to its
            arms' figures.
        title: what all panels have in common.
        baseline: the arm whose mean is a line through the whole panel; none where it is not there.
    """
    width = LABEL + max(map(len, blocks.values())) * (PANEL + GAP)
    heights = [HEAD + ROW * len(next(iter(block.values()))) + FOOT for block in blocks.values()]
    parts = _head(width, TITLE + sum(heights), title)
    top = TITLE
    for (name, block), height in zip(blocks.items(), heights, strict=True):
        parts.append(f'<text x="10" y="{top + HEAD - 8}" fill="{QUIET}">{escape(name)}</text>')
        for row, arm in enumerate(next(iter(block.values()))):
            y = top + HEAD + ROW * (row + 0.5) + 4
            parts.append(f'<text x="10" y="{y}">{escape(arm)}</text>')
        for column, (heading, arms) in enumerate(block.items()):
            left = LABEL + column * (PANEL + GAP)
            parts += _rows(left, top, heading, arms, baseline)
        top += height
    return "\n".join([*parts, "</svg>"]) + "\n"


def curves(panels: Mapping[str, Mapping[str, Mapping[float, Estimate]]], title: str) -> str:
    """Panels side by side: figures, one below the other, over the values of one setting.

    Args:
        panels: figures by the setting that varies; each maps its values to what was found.
        title: what all panels have in common.
    """
    figures = list(next(iter(panels.values())))
    pitch_x, pitch_y = WIDE + 2 * GAP, TALL + 2 * GAP
    parts = _head(LABEL + len(panels) * pitch_x, TITLE + GAP + len(figures) * pitch_y, title)
    for row, figure in enumerate(figures):
        top = TITLE + 12 + row * pitch_y
        parts.append(f'<text x="10" y="{top + TALL / 2}">{escape(figure)}</text>')
        ends = _range([e for panel in panels.values() for e in panel[figure].values()])
        for column, panel in enumerate(panels.values()):
            parts += _curve(LABEL + column * pitch_x, top, panel[figure], *ends)
    for column, setting in enumerate(panels):
        middle = LABEL + column * pitch_x + WIDE / 2
        parts.append(_text(middle, TITLE + len(figures) * pitch_y + 4, escape(setting)))
    return "\n".join([*parts, "</svg>"]) + "\n"


def _curve(
    left: int, top: int, points: Mapping[float, Estimate], low: float | int, high: float | int
) -> list[str]:
    def height(value: float | int) -> float:
        return round(top + TALL * (1 - (value - low) / (high - low)), 1)

    parts, dots = [], []
    for value in _ticks(low, high):
        y = height(value)
        parts.append(f'<path d="M{left} {y}h{WIDE}" stroke="{RULE}"/>')
        parts.append(_text(left - 6, y + 4, f"{value:g}", "end"))
    step = WIDE / len(points)  # evenly spaced: such settings are doubled, not added to
    for i, (x, estimate) in enumerate(sorted(points.items())):
        across = round(left + step * (i + 0.5), 1)
        parts.append(_text(across, top + TALL + 14, f"{x:g}"))
        if _known(estimate):
            ends = [height(estimate[end]) for end in ("low", "high")]
            parts.append(f'<path d="M{across} {ends[0]}V{ends[1]}" stroke="{LINE}"/>')
            dots.append((across, height(estimate["mean"])))
    path = " ".join(f"{x},{y}" for x, y in dots)
    parts.append(f'<polyline points="{path}" fill="none" stroke="{LINE}"/>')
    return parts + [f'<circle cx="{x}" cy="{y}" r="3" fill="{LINE}"/>' for x, y in dots]


def _rows(
    left: int, top: int, heading: str, arms: Mapping[str, Estimate], baseline: str
) -> list[str]:
    low, high = _range(list(arms.values()))

    def across(value: float | int) -> float:
        share = (value - low) / (high - low)
        return round(left + PAD + (PANEL - 2 * PAD) * share, 1)

    body, bottom = top + HEAD, top + HEAD + ROW * len(arms)
    parts = [
        f'<text x="{left}" y="{body - 8}" font-weight="bold">{escape(heading)}</text>',
        f'<rect x="{left}" y="{body}" width="{PANEL}" height="{bottom - body}" fill="none" '
        f'stroke="{RULE}"/>',
    ]
    if baseline in arms and _known(arms[baseline]):
        x = across(arms[baseline]["mean"])
        parts.append(f'<path d="M{x} {body}V{bottom}" stroke="{QUIET}" stroke-dasharray="2 3"/>')
    for value in _ticks(low, high):
        parts.append(_text(across(value), bottom + 14, f"{value:g}"))
    for row, estimate in enumerate(arms.values()):
        if not _known(estimate):
            continue
        y = body + ROW * (row + 0.5)
        ends = [across(estimate[end]) for end in ("low", "high")]
        parts.append(f'<path d="M{ends[0]} {y}H{ends[1]}" stroke="{LINE}" stroke-width="1.5"/>')
        parts.append(f'<circle cx="{across(estimate["mean"])}" cy="{y}" r="3.5" fill="{LINE}"/>')
    return parts


def _head(width: int, height: int, title: str) -> list[str]:
    return [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'font-family="Helvetica, Arial, sans-serif" font-size="12" fill="{INK}">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
        f'<text x="10" y="20" font-size="13" font-weight="bold">{escape(title)}</text>',
    ]


def _text(x: float | int, y: float | int, text: str, anchor: str = "middle") -> str:
    return (
        f'<text x="{x}" y="{y}" text-anchor="{anchor}" font-size="10" fill="{QUIET}">{text}</text>'
    )


def _known(estimate: Estimate) -> bool:
    return all(
        estimate[key] is not None and math.isfinite(estimate[key])
        for key in ("mean", "low", "high")
    )


def _range(estimates: Sequence[Estimate]) -> tuple[float, float]:
    """Ends of an axis that all intervals fit on, whole twentieths."""
    known = [e for e in estimates if _known(e)] or [{"low": 0.0, "high": 1.0}]
    low = math.floor(20 * min(e["low"] for e in known) + 1e-9) / 20
    high = math.ceil(20 * max(e["high"] for e in known) - 1e-9) / 20
    return low, max(high, low + 0.05)


def _ticks(low: float | int, high: float | int) -> list[float]:
    """Two to five round values within the range."""
    step = next(s for s in (0.05, 0.1, 0.2, 0.25, 0.5, 1, 2, 5, 10) if (high - low) / s <= 4.001)
    first = math.ceil(low / step - 1e-9)
    return [round(i * step, 4) for i in range(first, math.floor(high / step + 1e-9) + 1)]
