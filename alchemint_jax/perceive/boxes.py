"""Boxes (left, top, right, bottom): how much they overlap, and which of them to keep."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float32, Int

from alchemint_jax.perceive import Detections


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


def select(
    boxes: Float32[np.ndarray, "n 4"],
    scores: Float32[np.ndarray, " n"],
    words: Int[np.ndarray, " n"],
    size: tuple[int, int],
    threshold: int | float,
    overlap: int | float,
) -> Detections:
    """What is kept of a network's boxes for a frame of this height and width.

    Boxes end at the border; of those of one word, `suppress` keeps the likely ones.
    """
    height, width = size
    boxes = np.clip(boxes, 0, np.array([width, height, width, height], np.float32))
    good = (scores >= threshold) & (boxes[:, 2:] > boxes[:, :2]).all(1)
    boxes, scores, words = boxes[good], scores[good], words[good]
    of_word = [np.flatnonzero(words == word) for word in np.unique(words)]
    kept = [rows[suppress(boxes[rows], scores[rows], overlap)] for rows in of_word]
    chosen = np.concatenate([np.zeros(0, int), *kept])
    return Detections(boxes[chosen], scores[chosen], words[chosen])
