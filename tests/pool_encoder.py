from __future__ import annotations

import numpy as np

CLIPS, VALIDATION = 13, 3


class PoolEncoder:
    """An autoencoder small enough to check by hand: means over 8x8 pixels, every fourth frame."""

    def __init__(self, fail_after: int | None = None):
        self.videos = 0
        self.shapes: set[tuple[int, ...]] = set()
        self.fail_after = fail_after

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        if self.fail_after is not None and self.videos >= self.fail_after:
            raise KeyboardInterrupt
        self.videos += len(pixels)
        self.shapes.add(pixels.shape)
        b, _, h, w, c = pixels.shape
        pooled = pixels[:, ::4].reshape(b, -1, h // 8, 8, w // 8, 8, c)
        return pooled.mean((3, 5), dtype=np.float32) / np.float32(127.5) - 1
