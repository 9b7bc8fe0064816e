"""All frames of a clip on one picture, from which the page takes any of them by its number."""

from __future__ import annotations

import io
import math

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from alchemint_jax.perceive.pixels import resize

_MOST = 6 * 2**20  # pixels of the picture


def strip_of(
    frames: UInt8[np.ndarray, "f h w 3"],
) -> tuple[UInt8[np.ndarray, "_ _ 3"], dict[str, int]]:
    """The frames row by row, smaller where they are many and large.

    Returns:
        The picture; and how frames lie there: "columns", "height", "width" and "frames".
    """
    count, height, width = frames.shape[:3]
    scale = min(1.0, math.sqrt(_MOST / (count * height * width)))
    if scale < 1:
        height, width = max(1, round(height * scale)), max(1, round(width * scale))
        frames = np.stack([resize(frame, height, width) for frame in frames])
    columns = math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    sheet = np.zeros((rows * columns, height, width, 3), np.uint8)
    sheet[:count] = frames
    sheet = sheet.reshape(rows, columns, height, width, 3).swapaxes(1, 2)
    layout = {"columns": columns, "height": height, "width": width, "frames": count}
    return sheet.reshape(rows * height, columns * width, 3), layout


def as_png(strip: UInt8[np.ndarray, "h w 3"]) -> bytes:
    """The picture as a file that is made fast: people wait for it, and it stays on this machine."""
    buffer = io.BytesIO()
    Image.fromarray(strip).save(buffer, format="PNG", compress_level=1)
    return buffer.getvalue()
