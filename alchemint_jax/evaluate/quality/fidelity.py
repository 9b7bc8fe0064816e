"""How close a video is to the one that it should be: PSNR and SSIM, frame by frame."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float64, UInt8
from scipy import ndimage

from alchemint_jax.errors import DataError

CAP = 100.0
"""Decibels at which a frame counts as the same: the PSNR of equal frames has no bound."""

_SIGMA, _RADIUS = 1.5, 5  # of the window of SSIM: 11 pixels
_C1, _C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2

Video = UInt8[np.ndarray, "f h w 3"]
Truth = UInt8[np.ndarray, "g y x 3"]  # of another shape, until it has been compared


def pairs(video: Video, truth: Truth) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The frames of both, side by side.

    Raises:
        DataError: they differ in the number of frames or in size.
    """
    if video.shape != truth.shape:
        (frames, height, width), (f, h, w) = video.shape[:3], truth.shape[:3]
        raise DataError(
            f"the video has {frames} frames of {width} x {height} pixels, and its truth {f} of "
            f"{w} x {h}; bring both to the same frames and size"
        )
    return zip(video, truth, strict=True)


def mean(values: Iterator[float]) -> float:
    """The mean of some numbers; NaN if there are none."""
    found = [*values]
    return float(np.mean(found)) if found else float("nan")


def psnr(video: Video, truth: Truth) -> float:
    """Peak signal-to-noise ratio: the mean over frames of the ratio of each frame.

    A frame that is closer than 100 dB, or the same, counts as 100 dB. Otherwise a single equal
    frame, such as a given keyframe, would make the mean infinite.

    Args:
        video: uint8 `[f, h, w, 3]`.
        truth: what it should be, of the same shape.

    Returns:
        Decibels, of which more is better; NaN for a video without frames.

    Raises:
        DataError: the two differ in the number of frames or in size.

    Examples:
        >>> video = np.full((2, 8, 8, 3), 100, np.uint8)
        >>> round(al.evaluate.quality.psnr(video, video + np.uint8(10)), 2)
        28.13

    Source:
        10 log10(255^2 / MSE), over the three channels of a frame together.
    """
    return mean(_psnr(frame, true) for frame, true in pairs(video, truth))


def _psnr(frame: np.ndarray, true: np.ndarray) -> float:
    error = np.square(frame.astype(np.float64) - true).mean()
    return min(CAP, float(10 * np.log10(255**2 / error))) if error else CAP


def ssim(video: Video, truth: Truth) -> float:
    """Structural similarity: the mean over frames, channels and pixels.

    The window is the Gaussian of 11 pixels of the paper. Pixels whose window would reach outside of
    the frame do not count.

    Args:
        video: uint8 `[f, h, w, 3]`.
        truth: what it should be, of the same shape.

    Returns:
        A number of at most 1, which equal videos reach; NaN for a video without frames.

    Raises:
        DataError: the two differ in the number of frames or in size, or a side is shorter than 11
            pixels.

    Examples:
        >>> video = np.random.default_rng(0).integers(0, 256, (1, 16, 16, 3), np.uint8)
        >>> al.evaluate.quality.ssim(video, video)
        1.0

    Source:
        Z. Wang et al., "Image Quality Assessment: From Error Visibility to Structural Similarity",
        IEEE TIP 13 (2004), equation 13, with K1 = 0.01 and K2 = 0.03. Colour is not in the paper:
        each channel is compared by itself.
    """
    both = pairs(video, truth)
    if min(video.shape[1:3]) < 2 * _RADIUS + 1:
        height, width = video.shape[1:3]
        raise DataError(f"SSIM needs 11 x 11 pixels at least; the video has {width} x {height}")
    return mean(_ssim(frame.astype(np.float64), true.astype(np.float64)) for frame, true in both)


def _ssim(x: Float64[np.ndarray, "h w 3"], y: Float64[np.ndarray, "h w 3"]) -> float:
    mx, my = _smooth(x), _smooth(y)
    vx, vy = _smooth(x * x) - mx * mx, _smooth(y * y) - my * my
    shared = _smooth(x * y) - mx * my
    alike = (2 * mx * my + _C1) * (2 * shared + _C2)
    return float((alike / ((mx * mx + my * my + _C1) * (vx + vy + _C2))).mean())


def _smooth(x: Float64[np.ndarray, "h w 3"]) -> Float64[np.ndarray, "h2 w2 3"]:
    inner = slice(_RADIUS, -_RADIUS)
    return ndimage.gaussian_filter(x, _SIGMA, radius=_RADIUS, axes=(0, 1))[inner, inner]
