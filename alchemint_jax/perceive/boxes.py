"""Boxes (left, top, right, bottom): how much they overlap, and which of them to keep."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float32, Int


def overlaps(
    boxes: Float32[np.ndarray, "n 4"], others: Float32[np.ndarray, "m 4"]
) -> Float32[np.ndarray, "n m"]:
    """Intersection over union of every pair."""
    start = np.maximum(boxes[:, None, :2], others[None, :, :2])
    end = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    both = np.clip(end - start, 0, None).prod(-1)
    areas = [np.clip(b[:, 2:] - b[:, :2], 0, None).prod(-1) for b in (boxes, others)]
    union = areas[0][:, None] + areas[1][None] - both
    return np.where(union > 0, both / np.maximum(union, 1e-9), 0).astype(np.float32)


def suppress(
    boxes: Float32[np.ndarray, "n 4"], scores: Float32[np.ndarray, " n"], overlap: float
) -> Int[np.ndarray, " k"]:
    """Indices of those that no more likely one overlaps by more than `overlap`; likely first."""
    order = np.argsort(-scores, kind="stable")
    kept: list[int] = []
    for index in order:
        if not kept or overlaps(boxes[index : index + 1], boxes[kept]).max() <= overlap:
            kept.append(int(index))
    return np.array(kept, int)
