"""Images as CLIP takes them."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)
_CUBIC = -0.75  # of PyTorch's kernel


def preprocess(
    image: UInt8[np.ndarray, "h w 3"], size: int = 224, whole: bool = False
) -> Float[np.ndarray, "size size 3"]:
    """Bicubic to `size` along the shorter side, the centre cut out, normalised by CLIP's colours.

    That is transformers' CLIPImageProcessor, which diffusers' Wan pipelines use. The original Wan
    code squeezes the whole image into the square instead, and so does `whole`.
    """
    height, width, _ = image.shape
    if whole:
        rows, columns = squeeze(height, size), squeeze(width, size)
        cut = np.einsum("ih,hwc,jw->ijc", rows, image / 255.0, columns, optimize=True)
        return ((cut - MEAN) / STD).astype(np.float32)
    short = min(height, width)
    fitted = (int(size * width / short), int(size * height / short))
    resized = np.asarray(Image.fromarray(image).resize(fitted, Image.Resampling.BICUBIC))
    top, left = (resized.shape[0] - size) // 2, (resized.shape[1] - size) // 2
    cut = resized[top : top + size, left : left + size].astype(np.float32) / np.float32(255)
    return (cut - np.asarray(MEAN, np.float32)) / np.asarray(STD, np.float32)


def squeeze(old: int, new: int) -> Float[np.ndarray, "new old"]:
    """What each of `new` samples takes of `old` ones, by PyTorch's bicubic interpolation.

    It has four taps however much it shrinks: what lies between them is not looked at.
    """
    place = (np.arange(new) + 0.5) * old / new - 0.5
    weights = np.zeros((new, old))
    for tap in range(-1, 3):
        at = np.floor(place).astype(int) + tap
        x = np.abs(place - at)
        inner = (_CUBIC + 2) * x**3 - (_CUBIC + 3) * x**2 + 1
        outer = _CUBIC * (x**3 - 5 * x**2 + 8 * x - 4)
        value = np.where(x <= 1, inner, outer)
        np.add.at(weights, (np.arange(new), np.clip(at, 0, old - 1)), value)
    return weights
