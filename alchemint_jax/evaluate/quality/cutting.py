"""Subjects without their backgrounds, and backgrounds without their subjects."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float32, UInt8
from scipy import ndimage

from alchemint_jax.perceive import Segmenter
from alchemint_jax.perceive.pixels import cut, grow
from alchemint_jax.scene.scene import Subject

SIDE = 256
"""References are looked at in squares of so many pixels."""

_WHITE, _GREY = 255, 128
_NEARLY_WHITE = 250
_FRINGE = 1 / 32  # of the shorter side: what is about as close to a subject may be of it
_LEAST = 0.05  # the share of a picture below which there is no subject, or no background
Image = UInt8[np.ndarray, "_ _ 3"]


@dataclasses.dataclass(frozen=True, eq=False)
class Reference:
    """A picture of a subject: what it shows of it, on white, and its background.

    Attributes:
        subject: the subject on white, in a square.
        ground: the picture with the subject greyed out; None if there is nothing beside it.
    """

    subject: Image
    ground: Image | None


def reference(picture: Image, segmenter: Segmenter | None) -> Reference:
    """A picture in two parts. White margins are no part of it.

    Without a segmenter, or where it finds nothing that stands out, all of it is the subject.
    """
    picture = _trimmed(picture)
    if segmenter is None:
        return Reference(show(picture), None)
    height, width = picture.shape[:2]
    whole = np.array([[0, 0, width, height]], np.float32)
    mask = segmenter.segment(picture[None], whole)[0]
    if mask.mean() < _LEAST:
        return Reference(show(picture), None)
    beside = ~_grown(mask) & (picture.min(-1) < _NEARLY_WHITE)
    ground = hide(picture, mask) if beside.mean() >= _LEAST else None
    return Reference(show(picture, mask), ground)


def references(subject: Subject, segmenter: Segmenter | None) -> list[Reference]:
    """All pictures of a subject.

    Raises:
        StoryboardError: a file cannot be read.
    """
    views = range(len(subject.pictures))
    return [reference(subject.picture((SIDE, SIDE), view), segmenter) for view in views]


def show(image: Image, mask: Bool[np.ndarray, "_ _"] | None = None) -> UInt8[np.ndarray, "s s 3"]:
    """An image in the middle of a white square, white wherever the mask is not."""
    height, width = image.shape[:2]
    side = max(height, width)
    top, left = (side - height) // 2, (side - width) // 2
    square = np.full((side, side, 3), _WHITE, np.uint8)
    inner = square[top : top + height, left : left + width]
    inner[:] = image if mask is None else np.where(mask[..., None], image, np.uint8(_WHITE))
    return square


def hide(image: Image, mask: Bool[np.ndarray, "_ _"]) -> Image:
    """An image whose masked pixels are grey, and those close to them: masks are never exact."""
    return np.where(_grown(mask)[..., None], np.uint8(_GREY), image)


def _grown(mask: Bool[np.ndarray, "h w"]) -> Bool[np.ndarray, "h w"]:
    reach = round(_FRINGE * min(mask.shape))
    return ndimage.maximum_filter(mask, 2 * reach + 1) if reach else mask


def subject_in(
    frame: Image, box: Float32[np.ndarray, " 4"], mask: Bool[np.ndarray, "_ _"] | None
) -> Image | None:
    """What is in a box of a frame, on white; None if the box shows nothing of the frame.

    Where there is no mask, or it is empty, all of the box is the subject.
    """
    (place,) = grow(box[None], 0.0, *frame.shape[:2])
    if place is None:
        return None
    inner = None if mask is None else cut(mask, place)
    return show(cut(frame, place), inner if inner is not None and inner.any() else None)


def masks_of(
    frames: UInt8[np.ndarray, "n h w 3"],
    boxes: Float32[np.ndarray, "k n 4"],
    segmenter: Segmenter | None,
) -> Sequence[Bool[np.ndarray, "n h w"]] | None:
    """The pixels of each subject; None without a segmenter."""
    return None if segmenter is None else [segmenter.segment(frames, own) for own in boxes]


def _trimmed(picture: Image) -> Image:
    """The picture without margins that are white throughout; all of it if there is nothing else."""
    dark = picture.min(-1) < _NEARLY_WHITE
    rows, columns = np.flatnonzero(dark.any(1)), np.flatnonzero(dark.any(0))
    if not len(rows):
        return picture
    return picture[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
