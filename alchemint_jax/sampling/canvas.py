"""Pictures of subjects side by side on one canvas, as MAGREF takes them (arXiv 2505.23742).

The canvas stands where an image-to-video network has the first frame. A mask tells the network
which cells belong to a picture, and unlike a first frame the canvas is no part of the video.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Bool, UInt8

from alchemint_jax import images
from alchemint_jax.errors import StoryboardError
from alchemint_jax.scene.scene import Scene

MOST = 8
"""Pictures on a canvas."""
_GRIDS = ((1, 1), (1, 2), (1, 3), (2, 2), (2, 3), (2, 4))
"""Rows and columns, from few cells to many."""


@dataclasses.dataclass(frozen=True, eq=False)
class Canvas:
    """Pictures on white, and where they are.

    Attributes:
        picture: uint8 [h w 3].
        covered: which pixels belong to a picture [h w].
    """

    picture: UInt8[np.ndarray, "h w 3"]
    covered: Bool[np.ndarray, "h w"]

    @classmethod
    def of(cls, scene: Scene, size: tuple[int, int]) -> Canvas:
        """The first picture of each subject that is on screen at some time.

        Raises:
            StoryboardError: there is none, or a file cannot be read.
        """
        sources = [subject.pictures[0] for subject in scene.subjects if subject.spans]
        if not sources:
            raise StoryboardError(
                f"{scene.id}: subjects: this model draws from pictures of subjects; give at "
                "least one"
            )
        return compose(sources, size)

    def cells(self, side: int) -> Bool[np.ndarray, "rows columns"]:
        """Whether a picture is anywhere in each cell of `side` x `side` pixels."""
        height, width = self.covered.shape
        split = self.covered.reshape(height // side, side, width // side, side)
        return np.asarray(split.any((1, 3)))


def boxes(count: int, size: tuple[int, int]) -> list[tuple[int, int, int, int]]:
    """Top, left, bottom and right of the cells of the smallest grid with room for so many.

    The last row and the last column take what does not divide.
    """
    rows, columns = next(grid for grid in _GRIDS if math.prod(grid) >= count)
    height, width = size[0] // rows, size[1] // columns

    def bounds(number: int, of: int, step: int, whole: int) -> tuple[int, int]:
        return number * step, whole if number == of - 1 else (number + 1) * step

    found = []
    for row in range(rows):
        top, bottom = bounds(row, rows, height, size[0])
        for column in range(columns):
            left, right = bounds(column, columns, width, size[1])
            found.append((top, left, bottom, right))
    return found


def compose(pictures: Sequence[Path | UInt8[np.ndarray, "_ _ 3"]], size: tuple[int, int]) -> Canvas:
    """Pictures as large as fits into a cell each, in their order, row by row.

    The authors draw the order at random, in training as in use; here the same storyboard is always
    the same canvas.

    Args:
        pictures: in files or in memory, `MOST` at the most.
        size: height and width of the canvas.

    Raises:
        StoryboardError: a file cannot be read.
    """
    canvas = np.full((*size, 3), 255, np.uint8)
    covered = np.zeros(size, bool)
    cells = boxes(len(pictures), size)
    for source, (top, left, bottom, right) in zip(pictures, cells, strict=False):
        picture = images.load_fitted(source, (bottom - top, right - left))
        height, width, _ = picture.shape
        top += (bottom - top - height) // 2
        left += (right - left - width) // 2
        canvas[top : top + height, left : left + width] = picture
        covered[top : top + height, left : left + width] = True
    return Canvas(canvas, covered)
