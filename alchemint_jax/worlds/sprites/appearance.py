"""What a saturated blob of the sprites world is: its colour and its shape, read from pixels alone
(NumPy, SciPy).

Backgrounds are nearly colourless and light or texture only scales a colour, so the direction of a
pixel's chroma (its colour less its grey) names its hue. A blob's shape is the best match of its
outline, brought to unit area around its centroid, among templates of every shape at every distinct
angle.
"""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8
from scipy import ndimage

from alchemint_jax.worlds.sprites import shapes

COLOR_NAMES = tuple(shapes.COLORS)
MIN_COVERAGE = 0.33
"""A pixel belongs to a hue from this share of the hue's full chroma: half covered, or shaded by a
texture."""
MIN_PIXELS = 12
"""Smaller components are noise or the mixed rim between two subjects."""
_GREY = 26.0  # chroma norms below this may be background
_GRID = 24  # samples across a normalised outline, which spans 2 sqrt(area)
_CANVAS = 48  # pixels on a side, on which templates are drawn
_SYMMETRY = {"disc": 0, "ring": 0, "bar": 2, "moon": 1, "cross": 4, "star": 5}


@dataclasses.dataclass(frozen=True)
class Blobs:
    """The n connected components of one hue in a clip."""

    frame: Int[np.ndarray, " n"]
    area: Float[np.ndarray, " n"]
    xy: Float[np.ndarray, "n 2"]
    """Centroids in pixels (x, y)."""
    whole: Bool[np.ndarray, " n"]
    """Neither cut by the edge of the picture nor in touch with another hue."""
    cut: Bool[np.ndarray, " n"]
    """Cut by the edge of the picture."""
    mask: Bool[np.ndarray, "n h w"]
    scores: Float[np.ndarray, "n s"]
    """Likeness in [0, 1] to each of `shapes.SHAPES`."""


def hues(
    frames: UInt8[np.ndarray, "f h w 3"],
) -> tuple[Bool[np.ndarray, "c f h w"], Float[np.ndarray, "f h w"]]:
    """Pixels of each world colour (a pixel has one colour or none), and how full the colour is (1:
    pure).
    """
    palette = np.asarray(list(shapes.COLORS.values()), np.float32)
    palette -= palette.mean(1, keepdims=True)
    norms = np.linalg.norm(palette, axis=1)
    chroma = frames.astype(np.float32)
    chroma -= chroma.mean(-1, keepdims=True)
    grey = np.einsum("fhwc,fhwc->fhw", chroma, chroma) < _GREY**2
    if grey.any():  # the tint of the background is no colour
        chroma -= np.median(chroma[grey], axis=0)
    along = chroma @ (palette / norms[:, None]).T
    best = along.argmax(-1)
    strength = np.take_along_axis(along, best[..., None], -1)[..., 0] / norms[best]
    return (best == np.arange(len(palette))[:, None, None, None]) & (
        strength > MIN_COVERAGE
    ), strength


def find_blobs(
    hue: Bool[np.ndarray, "f h w"],
    others: Bool[np.ndarray, "f h w"],
    strength: Float[np.ndarray, "f h w"],
) -> Blobs:
    """Connected components of one hue, frame by frame; `others` marks the pixels of all other hues.

    Each is cut at half its own full strength, so that neither light nor a smeared rim changes its
    outline.
    """
    flat = np.zeros((3, 3, 3), bool)
    flat[1] = True  # components live within one frame
    labels, count = ndimage.label(hue, flat)
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    keep = np.flatnonzero(sizes >= MIN_PIXELS)
    keep = keep[keep > 0]
    boxes = ndimage.find_objects(labels)
    frame = np.array([boxes[k - 1][0].start for k in keep], np.int64)
    mask = labels[frame] == keep[:, None, None]
    level = [np.percentile(strength[f][m], 85) for f, m in zip(frame, mask, strict=True)]
    mask &= strength[frame] > 0.5 * np.asarray(level, np.float32)[:, None, None]
    area = mask.sum((1, 2)).astype(np.float64)
    grid = np.arange(hue.shape[1]) + 0.5, np.arange(hue.shape[2]) + 0.5
    xy = np.stack([mask.sum(1) @ grid[1], mask.sum(2) @ grid[0]], -1) / area[:, None]
    cut = mask[:, 0].any(1) | mask[:, -1].any(1) | mask[:, :, 0].any(1) | mask[:, :, -1].any(1)
    near = ndimage.maximum_filter(others.view(np.uint8), (1, 5, 5)) > 0
    touched = (mask & near[frame]).sum((1, 2)) > 2
    return Blobs(frame, area, xy, ~(cut | touched), cut, mask, likeness(mask, area, xy))


def likeness(
    mask: Bool[np.ndarray, "n h w"],
    area: Float[np.ndarray, " n"],
    xy: Float[np.ndarray, "n 2"],
    cut: bool = False,
) -> Float[np.ndarray, "n s"]:
    """Soft overlap (Jaccard) of each outline with its best template of every shape, or of every
    shape as an edge of the picture cuts it.
    """
    outline = _normalised(mask, area, xy)
    bank, squares, shape = _cut_templates() if cut else _templates()
    inner = outline @ bank.T
    union = (outline**2).sum(1)[:, None] + squares - inner
    overlap = inner / union
    return np.stack([overlap[:, shape == s].max(1) for s in range(len(shapes.SHAPES))], -1).astype(
        np.float64
    )


def _normalised(mask: np.ndarray, area: np.ndarray, xy: np.ndarray) -> np.ndarray:
    """Outlines at unit area around their centroids, float32 [n grid*grid]."""
    offset = (np.arange(_GRID) + 0.5) / _GRID * 2 - 1
    scale = np.sqrt(area)[:, None]
    x = xy[:, :1] - 0.5 + scale * offset
    y = xy[:, 1:] - 0.5 + scale * offset
    shape = (len(mask), _GRID, _GRID)
    index = np.broadcast_to(np.arange(len(mask))[:, None, None], shape)
    points = [index, np.broadcast_to(y[:, :, None], shape), np.broadcast_to(x[:, None, :], shape)]
    return ndimage.map_coordinates(mask.astype(np.float32), points, order=1).reshape(
        len(mask), _GRID**2
    )


@functools.lru_cache(maxsize=1)
def _templates() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Normalised outlines of every shape at every distinct angle, sharp and blurred, the sums of
    their squares, and their shape numbers.
    """
    masks, owner = [], []
    for number, shape in enumerate(shapes.SHAPES):
        turn = _turns(shape)
        for radius in (10.0, 16.0):
            middle = np.full((len(turn), 2), _CANVAS / 2)
            cover = shapes.coverage(shape, middle, turn, radius, _CANVAS)
            for blur in (0.0, 1.0, 1.6):
                masks.append(ndimage.gaussian_filter(cover, (0, blur, blur)) > 0.4)
                owner += [number] * len(turn)
    return _bank(np.concatenate(masks), owner)


@functools.lru_cache(maxsize=1)
def _cut_templates() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """As `_templates`, of shapes of which a share of the width is beyond one of the four edges."""
    radius, masks, owner = 12.0, [], []
    for number, shape in enumerate(shapes.SHAPES):
        turn = _turns(shape)
        for inside in (0.4, 0.5, 0.65, 0.8):
            near = 1.1 * radius * (2 * inside - 1)  # the centre, from the edge
            for place in (near, _CANVAS - near):
                for xy in ((place, _CANVAS / 2), (_CANVAS / 2, place)):
                    centre = np.tile(xy, (len(turn), 1))
                    masks.append(shapes.coverage(shape, centre, turn, radius, _CANVAS) > 0.5)
                    owner += [number] * len(turn)
    return _bank(np.concatenate(masks), owner)


def _turns(shape: str) -> np.ndarray:
    """The angles at which a shape looks different."""
    fold = _SYMMETRY[shape]
    return np.arange(0, 2 * np.pi / fold, np.radians(6)) if fold else np.zeros(1)


def _bank(mask: np.ndarray, owner: list[int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    grid = np.arange(_CANVAS) + 0.5
    area = mask.sum((1, 2)).astype(np.float64)
    xy = np.stack([mask.sum(1) @ grid, mask.sum(2) @ grid], -1) / area[:, None]
    bank = _normalised(mask, area, xy)
    return bank, (bank**2).sum(1), np.asarray(owner)
