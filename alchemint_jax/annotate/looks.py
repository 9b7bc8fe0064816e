"""What colours somebody wears: it tells people apart who look alike to a network.

Networks that were trained to name things say little of two people but that they are people. What
is above and below the waist, in the middle of a box, says more. Histograms are compared by
Bhattacharyya's coefficient, as trackers do (D. Comaniciu, V. Ramesh and P. Meer, "Kernel-based
object tracking", IEEE TPAMI 25(5), 2003), which is the inner product of their square roots.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

_SIZE = 48, 24  # pixels to which a box is scaled, height and width
_BANDS = (0.1, 0.5), (0.5, 0.9)  # shares of its height: above and below the waist
_MIDDLE = 0.3, 0.7  # shares of its width: beside it there is background
_BINS = 8  # of brightness, and of each of two differences of colours ...
_REACH = 32  # ... which are cut off at so many of 128: few things are more colourful


def color_vector(image: UInt8[np.ndarray, "h w 3"]) -> Float[np.ndarray, " d"]:
    """A vector of length 1, whose inner product with another one says how alike colours are.

    Args:
        image: what is in the box of one subject.
    """
    size = (_SIZE[1], _SIZE[0])
    small = Image.fromarray(np.ascontiguousarray(image)).convert("YCbCr")
    pixels = np.asarray(small.resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0), float)
    left, right = (int(share * _SIZE[1]) for share in _MIDDLE)
    parts = []
    for band in _BANDS:
        top, bottom = (int(share * _SIZE[0]) for share in band)
        parts.append(np.sqrt(_histogram(pixels[top:bottom, left:right].reshape(-1, 3))))
    return np.concatenate(parts) / np.sqrt(len(parts))


def _histogram(pixels: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, " bins"]:
    """Shares of colours; each pixel counts in the eight bins around it, so that little noise does.

    Brightness first, then the two differences.
    """
    colorful = np.clip((pixels[:, 1:] - 128) / (2 * _REACH) + 0.5, 0, 1)
    at = np.concatenate([pixels[:, :1] / 255, colorful], 1) * (_BINS - 1)
    low = np.minimum(at.astype(int), _BINS - 2)
    sides = np.stack([1 - (at - low), at - low])
    corners = np.array([*itertools.product((0, 1), repeat=3)])
    shares = sides[corners, :, [0, 1, 2]].prod(1)
    places = (corners[:, None] + low) @ [_BINS**2, _BINS, 1]
    return np.bincount(places.ravel(), shares.ravel(), _BINS**3) / len(pixels)


def joined(
    vectors: Float[np.ndarray, "n d"],
    images: Sequence[UInt8[np.ndarray, "_ _ 3"]],
    weight: float | int,
) -> Float[np.ndarray, "n d2"]:
    """Vectors of images with those of their colours: inner products are weighted means of both.

    Args:
        vectors: of length 1, by a network.
        images: the same, in the same order.
        weight: of colours, from 0 to 1.
    """
    if not weight or not len(images):
        return vectors
    colors = np.stack([color_vector(image) for image in images])
    return np.concatenate([np.sqrt(1 - weight) * vectors, np.sqrt(weight) * colors], 1)
