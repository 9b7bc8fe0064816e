"""Images as CLIP takes them."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)


def preprocess(
    image: UInt8[np.ndarray, "h w 3"], size: int = 224
) -> Float[np.ndarray, "size size 3"]:
    """Bicubic to `size` along the shorter side, the centre cut out, normalised by CLIP's colours.

    That is transformers' CLIPImageProcessor, which diffusers' Wan pipelines use. (The original Wan
    code squeezes the whole image into the square instead: make the image square for that.)
    """
    height, width, _ = image.shape
    short = min(height, width)
    fitted = (int(size * width / short), int(size * height / short))
    resized = np.asarray(Image.fromarray(image).resize(fitted, Image.Resampling.BICUBIC))
    top, left = (resized.shape[0] - size) // 2, (resized.shape[1] - size) // 2
    cut = resized[top : top + size, left : left + size].astype(np.float32) / np.float32(255)
    return (cut - np.asarray(MEAN, np.float32)) / np.asarray(STD, np.float32)
