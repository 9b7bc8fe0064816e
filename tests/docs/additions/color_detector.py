"""A detector of one's own: it knows words by their colour. The guide shows this file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from alchemint_jax.perceive import Detections, Detector
from alchemint_jax.scene import Spans


@dataclass(frozen=True)
class ColorDetector:
    """Finds "red ball" as the box around all red pixels, and nothing for a word without a colour.

    Attributes:
        colors: RGB of each colour that it knows.
        reach: how far a pixel may be from its colour, summed over the channels.
    """

    colors: Mapping[str, tuple[int, int, int]]
    reach: int = 60
    vocabulary: ClassVar[None] = None  # it looks at any word

    def detect(self, video: np.ndarray, words: Sequence[str]) -> list[Detections]:
        """See `Detector.detect`; the score is the share of the box that has the colour."""
        return [self._frame(frame.astype(int), words) for frame in video]

    def _frame(self, frame: np.ndarray, words: Sequence[str]) -> Detections:
        rows = []
        for number, word in enumerate(words):
            for color in {*word.split()} & {*self.colors}:
                near = np.abs(frame - self.colors[color]).sum(-1) < self.reach
                if near.any():
                    y, x = np.nonzero(near)
                    left, top, right, bottom = x.min(), y.min(), x.max() + 1, y.max() + 1
                    score = near[top:bottom, left:right].mean()
                    rows.append((left, top, right, bottom, score, number))
        found = np.array(rows, np.float32).reshape(-1, 6)
        return Detections(found[:, :4], found[:, 4], found[:, 5].astype(int))


def seen(detector: Detector, video: np.ndarray, words: Sequence[str]) -> list[Spans]:
    """The pixel frames in which each word is seen, by detections that are more likely than not."""
    found = detector.detect(video, words)
    there = np.zeros((len(words), len(video)), bool)
    for frame, one in enumerate(found):
        there[one.words[one.scores > 0.5], frame] = True
    return [Spans.where(row) for row in there]
