"""Frames on their way into a network and back, on the host: resizing, and boxes that fit."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Float32, UInt8
from PIL import Image

Frame = UInt8[np.ndarray, "_ _ 3"]
_GREY = 128


def resize(frame: Frame, height: int, width: int) -> Frame:
    """Bilinear, and smoothed where it shrinks."""
    image = Image.fromarray(np.ascontiguousarray(frame))
    return np.asarray(
        image.resize((width, height), Image.Resampling.BILINEAR, reducing_gap=2.0), np.uint8
    )


def sample(frame: Frame, height: int, width: int) -> Frame:
    """Bilinear between the four pixels around each point, however much it shrinks.

    Networks that were trained on images shrunk in this way find more in them.
    """
    scale = frame.shape[1] / width, frame.shape[0] / height
    image = Image.fromarray(np.ascontiguousarray(frame))
    return np.asarray(
        image.transform(
            (width, height),
            Image.Transform.AFFINE,
            (scale[0], 0, 0, 0, scale[1], 0),
            Image.Resampling.BILINEAR,
        ),
        np.uint8,
    )


def resize_map(
    values: Float32[np.ndarray, "_ _"], height: int, width: int
) -> Float32[np.ndarray, "_ _"]:
    """Bilinear, as `resize`, of one real number per pixel."""
    return np.asarray(Image.fromarray(values).resize((width, height), Image.Resampling.BILINEAR))


def stack(images: Sequence[Frame], count: int) -> UInt8[np.ndarray, "b h w 3"]:
    """Images of one size as a batch; the last one is repeated until there are `count`.

    So a program is compiled for one number of images only.
    """
    return np.stack([*images, *[images[-1]] * (count - len(images))])


def batches(indices: Sequence[int], size: int) -> Iterator[Sequence[int]]:
    """Indices in parts of `size`, the last of which may be smaller."""
    return (indices[start : start + size] for start in range(0, len(indices), size))


Place = tuple[int, int, int, int]
"""Whole pixels of a frame: left, top, right and bottom; the last two are exclusive."""


def grow(
    boxes: Float32[np.ndarray, "n 4"], margin: float, height: int, width: int
) -> list[Place | None]:
    """Boxes with a share of their size around them, as far as the frame goes.

    None stands for those that are not known (NaN), or show nothing of the frame.
    """
    places: list[Place | None] = []
    for box in boxes.astype(float):
        if not np.isfinite(box).all():
            places.append(None)
            continue
        room = margin * (box[2:] - box[:2])
        left, top = (int(v) for v in np.maximum(np.floor(box[:2] - room), 0))
        right, bottom = (int(v) for v in np.minimum(np.ceil(box[2:] + room), (width, height)))
        places.append((left, top, right, bottom) if left < right and top < bottom else None)
    return places


def cut(frame: np.ndarray, place: Place) -> np.ndarray:
    """The part of a frame, without a copy."""
    left, top, right, bottom = place
    return frame[top:bottom, left:right]


@dataclasses.dataclass(frozen=True)
class Letterbox:
    """How a frame of one size lies on a canvas: its aspect ratio is kept, what is left is grey.

    Attributes:
        size: height and width of the frame.
        inner: height and width of the frame on the canvas.
        canvas: height and width of the canvas.
    """

    size: tuple[int, int]
    inner: tuple[int, int]
    canvas: tuple[int, int]

    @classmethod
    def fit(cls, height: int, width: int, side: int, multiple: int) -> Letterbox:
        """The longer side becomes `side`, and the canvas the least multiple around the shorter one.

        So videos of one aspect ratio share a canvas, whatever their size.
        """
        scale = side / max(height, width)
        inner = (max(1, round(height * scale)), max(1, round(width * scale)))
        canvas = (-(-inner[0] // multiple) * multiple, -(-inner[1] // multiple) * multiple)
        return cls((height, width), inner, canvas)

    @property
    def _corner(self) -> tuple[int, int]:
        return ((self.canvas[0] - self.inner[0]) // 2, (self.canvas[1] - self.inner[1]) // 2)

    def put(self, frame: Frame) -> Frame:
        """The canvas with the frame in its middle."""
        out = np.full((*self.canvas, 3), _GREY, np.uint8)
        top, left = self._corner
        out[top : top + self.inner[0], left : left + self.inner[1]] = sample(frame, *self.inner)
        return out

    def boxes(self, boxes: Float32[np.ndarray, "n 4"]) -> Float32[np.ndarray, "n 4"]:
        """Boxes of the canvas as boxes of the frame, which they may leave."""
        top, left = self._corner
        (height, width), (inner_height, inner_width) = self.size, self.inner
        shift = np.array([left, top, left, top], np.float32)
        scale = np.array([width / inner_width, height / inner_height] * 2, np.float32)
        return ((boxes - shift) * scale).astype(np.float32)


def on_square(image: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "s s 3"]:
    """A picture in the middle of a white square."""
    height, width = image.shape[:2]
    side = max(height, width)
    square = np.full((side, side, 3), 255, np.uint8)
    top, left = (side - height) // 2, (side - width) // 2
    square[top : top + height, left : left + width] = image
    return square
