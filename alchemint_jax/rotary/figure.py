"""Kernels as small multiples: one row per scheme, one column per interval. SVG text."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

import numpy as np
from jaxtyping import Bool, Float, Int

from alchemint_jax.scene.clock import WAN_STRIDE, Clock

PANEL_W, PANEL_H, GAP_X, GAP_Y = 164, 84, 14, 16
LEFT, TOP, BOTTOM = 128, 66, 56
INK, QUIET, RULE, BAND, LINE = "#1f2937", "#6b7280", "#e5e7eb", "#fde68a", "#1d4ed8"
LOW, HIGH = -1.0, 1.0  # at unit mean-square modulus a profile cannot leave this range


def draw(
    curves: Mapping[str, Float[np.ndarray, "n t"]],
    shown: Mapping[str, Bool[np.ndarray, "n t"]],
    pixels: Int[np.ndarray, "n 2"],
    title: str,
) -> str:
    """An SVG: bands are the intervals asked for, full dots the frames that a profile shows.

    Args:
        curves: attention profile of each interval over the latent frames, by scheme.
        shown: frames to draw as full dots.
        pixels: half-open pixel intervals, one per column.
        title: what all panels have in common.
    """
    n_frames = next(iter(curves.values())).shape[1]
    n_pixels = Clock.for_latents(n_frames, WAN_STRIDE).frames
    width = LEFT + len(pixels) * (PANEL_W + GAP_X)
    height = TOP + len(curves) * (PANEL_H + GAP_Y) - GAP_Y + BOTTOM
    radius = min(3.2, 0.3 * PANEL_W / n_frames)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'font-family="Helvetica, Arial, sans-serif" font-size="12" fill="{INK}">',
        f"<title>Attention profiles of the interval schemes: {escape(title)}</title>",
        f'<rect width="{width}" height="{height}" fill="white"/>',
        f'<text x="{LEFT}" y="20" font-size="13" font-weight="bold">{escape(title)}</text>',
    ]
    for column, (start, end) in enumerate(pixels.tolist()):
        x = LEFT + column * (PANEL_W + GAP_X)
        parts.append(
            f'<text x="{x + PANEL_W / 2}" y="{TOP - 12}" text-anchor="middle">'
            f"asked: [{start}, {end}) of {n_pixels}</text>"
        )
        for row, name in enumerate(curves):
            y = TOP + row * (PANEL_H + GAP_Y)
            parts += _panel(x, y, curves[name][column], shown[name][column], (start, end), radius)
    for row, name in enumerate(curves):
        y = TOP + row * (PANEL_H + GAP_Y)
        first, _, second = name.partition(", ")
        middle = y + PANEL_H / 2
        parts.append(f'<text x="10" y="{middle + 4}" font-weight="bold">{escape(first)}</text>')
        if second:
            parts.append(f'<text x="10" y="{middle + 20}" fill="{QUIET}">{escape(second)}</text>')
        for value in (LOW, 0, HIGH):
            at = _height(value, y) + 4
            parts.append(
                f'<text x="{LEFT - 6}" y="{at}" text-anchor="end" font-size="10" '
                f'fill="{QUIET}">{value:g}</text>'
            )
    parts += _legend(height - 16, n_frames)
    return "\n".join([*parts, "</svg>"]) + "\n"


def _height(value: float | int, top: float | int) -> float:
    return round(top + PANEL_H * (HIGH - value) / (HIGH - LOW), 1)


def _panel(
    x: int,
    y: int,
    profile: Float[np.ndarray, " t"],
    shown: Bool[np.ndarray, " t"],
    interval: tuple[int, int],
    radius: float,
) -> list[str]:
    def across(latent: float | int) -> float:
        return round(x + PANEL_W * (latent + 0.5) / len(profile), 1)

    # Pixel frame p fills [p - 1/2, p + 1/2); half a frame beyond the clip's ends is still inside.
    clock = Clock.for_latents(len(profile), WAN_STRIDE)
    left, right = (across(float(clock.coordinate(p - 0.5))) for p in interval)
    parts = [
        f'<rect x="{left}" y="{y}" width="{right - left:.1f}" height="{PANEL_H}" fill="{BAND}"/>',
        f'<path d="M{x} {_height(0, y)}h{PANEL_W}" stroke="{RULE}"/>',
        f'<rect x="{x}" y="{y}" width="{PANEL_W}" height="{PANEL_H}" fill="none" stroke="{RULE}"/>',
    ]
    dots = [(across(i), _height(float(value), y)) for i, value in enumerate(profile)]
    path = " ".join(f"{cx},{cy}" for cx, cy in dots)
    parts.append(f'<polyline points="{path}" fill="none" stroke="{LINE}" stroke-width="1.3"/>')
    for (cx, cy), full in zip(dots, shown, strict=True):
        fill = LINE if full else "white"
        parts.append(
            f'<circle cx="{cx}" cy="{cy}" r="{radius:.1f}" fill="{fill}" stroke="{LINE}"/>'
        )
    return parts


def _legend(y: int, n_frames: int) -> list[str]:
    return [
        f'<g fill="{QUIET}">'
        f'<text x="{LEFT}" y="{y - 18}">x: latent frame, 0 to {n_frames - 1}; '
        "y: attention profile at equal key norm</text>",
        f'<rect x="{LEFT}" y="{y - 9}" width="14" height="10" fill="{BAND}"/>'
        f'<text x="{LEFT + 20}" y="{y}">asked for</text>',
        f'<circle cx="{LEFT + 105}" cy="{y - 4}" r="3.2" fill="{LINE}" stroke="{LINE}"/>'
        f'<text x="{LEFT + 114}" y="{y}">above the middle of the profile’s own range</text>',
        f'<circle cx="{LEFT + 414}" cy="{y - 4}" r="3.2" fill="white" stroke="{LINE}"/>'
        f'<text x="{LEFT + 423}" y="{y}">below it</text></g>',
    ]
