"""Shapes, colours and textures of the sprites world, drawn with signed distances (NumPy).

Shapes live in local coordinates in which the nominal radius is 1; distances are negative inside.
They were chosen to differ at low resolution, in area, elongation or balance: what tells a square
from a disc is too small a part of a video's variance for a tiny model to learn.
"""

from __future__ import annotations

import functools

import numpy as np

SHAPES = ("disc", "ring", "bar", "moon", "cross", "star")
TEXTURES = ("flat", "stripes", "dots")
COLORS = {
    "red": (222, 40, 42),
    "yellow": (238, 205, 40),
    "green": (52, 168, 62),
    "cyan": (50, 200, 215),
    "blue": (48, 78, 220),
    "purple": (172, 62, 205),
}


def signed_distance(shape: str, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Distance to the outline at local points; exact near the outline, negative inside."""
    if shape == "disc":
        return np.hypot(x, y) - 1.05
    if shape == "ring":
        return np.abs(np.hypot(x, y) - 0.86) - 0.24
    if shape == "bar":
        return np.maximum(np.abs(x) - 1.2, np.abs(y) - 0.42)
    if shape == "moon":
        return np.maximum(np.hypot(x, y) - 1.05, 0.8 - np.hypot(x - 0.5, y))
    if shape == "cross":
        ax, ay = np.abs(x), np.abs(y)
        return np.minimum(np.maximum(ax - 0.27, ay - 1.15), np.maximum(ax - 1.15, ay - 0.27))
    if shape == "star":
        outer, inner, half = 1.12, 0.45, np.pi / 5
        angle = np.abs(np.mod(np.arctan2(x, -y) + half, 2 * half) - half)
        radius = np.hypot(x, y)
        px, py = radius * np.cos(angle), radius * np.sin(angle)
        ex, ey = inner * np.cos(half) - outer, inner * np.sin(half)
        return ((px - outer) * ey - py * ex) / np.hypot(ex, ey)
    raise ValueError(f"unknown shape {shape!r}; known: {', '.join(SHAPES)}")


def _local(
    xy: np.ndarray, angle: np.ndarray, radius: float, size: int
) -> tuple[np.ndarray, np.ndarray]:
    """Local coordinates of every pixel centre in every frame, two float32 arrays [f y x]."""
    grid = np.arange(size, dtype=np.float32) + 0.5
    dx = (grid - xy[:, :1].astype(np.float32))[:, None, :] / np.float32(radius)
    dy = (grid - xy[:, 1:].astype(np.float32))[:, :, None] / np.float32(radius)
    cos, sin = (fn(angle).astype(np.float32)[:, None, None] for fn in (np.cos, np.sin))
    return cos * dx + sin * dy, cos * dy - sin * dx


def coverage(shape: str, xy: np.ndarray, angle: np.ndarray, radius: float, size: int) -> np.ndarray:
    """Anti-aliased coverage in [0, 1], float32 [f y x], of a shape centred at `xy` [f 2]."""
    pixels = signed_distance(shape, *_local(xy, angle, radius, size)) * np.float32(radius)
    return np.clip(0.5 - pixels, 0, 1)


@functools.lru_cache(maxsize=len(SHAPES))
def _unit_area(shape: str) -> float:
    return float(coverage(shape, np.full((1, 2), 128.0), np.zeros(1), 90.0, 256).sum()) / 90.0**2


def full_area(shape: str, radius: float) -> float:
    """Area in pixels of a shape that is wholly inside the picture."""
    return _unit_area(shape) * radius**2


def paint(
    color: str,
    texture: str,
    xy: np.ndarray,
    angle: np.ndarray,
    radius: float,
    size: int,
    light: float,
) -> np.ndarray:
    """The surface of a subject, float32 [f y x 3] in 0..255, before it is cut to its shape."""
    base = np.asarray(COLORS[color], np.float32) * np.float32(light)
    if texture == "flat":
        return np.broadcast_to(base, (len(xy), size, size, 3))
    x, y = _local(xy, angle, radius, size)
    wave = np.sin(5.5 * x) if texture == "stripes" else np.sin(4.5 * x) * np.sin(4.5 * y) * 1.5
    shade = 1 - 0.32 * np.clip(0.5 + 1.5 * wave, 0, 1)
    return base * shade[..., None]
