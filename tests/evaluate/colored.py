"""Clips of coloured rectangles on grey, and those who know them by their colour.

Red and yellow things are dogs, blue ones are cars, green ones have no word.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from scipy import ndimage

from alchemint_jax.evaluate import Sighting
from alchemint_jax.perceive import Detections
from alchemint_jax.perceive.choose import Perceivers
from alchemint_jax.perceive.shots import ContentShots
from alchemint_jax.scene import Clock, Scene, Spans, Subject

COLORS = {
    "red": (220, 40, 40),
    "yellow": (200, 200, 40),
    "blue": (50, 70, 220),
    "green": (40, 190, 60),
}
KINDS = {"red": "dog", "yellow": "dog", "blue": "car"}
SIZE = 48, 80
PLACES = {"red": 4, "yellow": 24, "blue": 44, "green": 62}
FAR = 130  # of the sum of three channels: compression moves colours


def draw(frames, shown, size=SIZE):
    """`shown`: the runs of frames of each colour."""
    video = np.full((frames, *size, 3), 128, np.uint8)
    scale = size[1] / SIZE[1]
    for color, spans in shown.items():
        left, right = (round(scale * x) for x in (PLACES[color], PLACES[color] + 14))
        for start, end in spans:
            video[start:end, round(scale * 16) : round(scale * 32), left:right] = COLORS[color]
    return video


def picture(color):
    image = np.full((32, 32, 3), 255, np.uint8)
    image[8:24, 9:23] = COLORS[color]
    return image


def scene(asked, frames=20, fps=10.0, words=None, name="case"):
    words = words or {color: KINDS.get(color, "gizmo") for color in asked}
    subjects = [
        Subject(words[color], Spans(spans), picture(color)[None]) for color, spans in asked.items()
    ]
    return Scene(name, " and ".join(words.values()), Clock(fps, frames, 4), tuple(subjects))


def masks(video, color):
    return np.abs(video.astype(np.int16) - np.int16(COLORS[color])).sum(-1) < FAR


@dataclass(frozen=True)
class ColorTracker:
    """Sees a subject where its colour covers more than `least` pixels, `late` frames later."""

    least: int = 20
    late: int = 0
    measures: ClassVar = {"area": "area"}
    notes: ClassVar = {"How": "By colour."}

    @property
    def fingerprint(self):
        return repr(self)

    @property
    def variations(self):
        return {"least": [(20, ColorTracker(20)), (10_000, ColorTracker(10_000))]}

    def check(self, image):
        pass

    def track(self, video, case):
        assert not any(subject.spans for subject in case.subjects)
        names = [min(COLORS, key=lambda c: self._far(subject, c)) for subject in case.subjects]
        return [self._sighting(i, names, masks(video, name)) for i, name in enumerate(names)]

    def _far(self, subject, color):
        return np.abs(subject.picture((32, 32))[16, 16].astype(int) - COLORS[color]).sum()

    def _sighting(self, number, names, mask):
        area, name = mask.sum((1, 2)), names[number]
        there = area > self.least
        there = np.concatenate([there[:1]] * self.late + [there])[: len(there)]
        alike = np.where(there[:, None], np.eye(len(names))[number], np.nan)
        boxes = np.full((len(mask), 4), np.nan)
        for f in np.flatnonzero(area > self.least):
            y, x = np.nonzero(mask[f])
            boxes[f] = x.min(), y.min(), x.max() + 1, y.max() + 1
        seen = name if there.any() else None
        figures = {"area": float(area.mean())}
        return Sighting(there, name, seen, figures, likeness=alike, boxes=boxes)


TRACKER = ColorTracker()


def tracker():
    """By this name processes find it."""
    return TRACKER


@dataclass(frozen=True)
class ColorDetector:
    vocabulary: tuple[str, ...] | None = ("dog", "car", "cat")
    find: ClassVar = KINDS

    def detect(self, video, words):
        return [self._frame(frame, list(words)) for frame in video]

    def _frame(self, frame, words):
        rows = []
        for color, kind in self.find.items():
            if kind in words:
                parts, _ = ndimage.label(masks(frame, color))
                rows += [
                    (x.start, y.start, x.stop, y.stop, 0.9, words.index(kind))
                    for y, x in ndimage.find_objects(parts)
                    if (y.stop - y.start) * (x.stop - x.start) >= 12
                ]
        found = np.array(rows, np.float32).reshape(-1, 6)
        return Detections(found[:, :4], found[:, 4], found[:, 5].astype(int))


class ColorSegmenter:
    def segment(self, video, boxes):
        return np.stack([np.ptp(frame.astype(int), axis=-1) > 60 for frame in video])


class ColorEmbedder:
    """The mean of what has a colour; red and yellow are alike by 0.43."""

    def embed(self, images):
        vectors = [self._one(image.reshape(-1, 3).astype(float)) for image in images]
        return np.array(vectors, np.float32).reshape(-1, 3)

    def _one(self, pixels):
        colored = pixels[np.ptp(pixels, axis=1) > 60]
        vector = (colored.mean(0) if len(colored) else np.ones(3)) - 100
        return vector / np.linalg.norm(vector)


class ColorClip(ColorEmbedder):
    """Also takes texts: every word is red."""

    def embed_texts(self, texts):
        return np.repeat(self.embed([picture("red")]), len(texts), axis=0)


def perceivers(**changed):
    parts = {
        "detector": ColorDetector(),
        "segmenter": ColorSegmenter(),
        "embedder": ColorEmbedder(),
        "shots": ContentShots(),
    }
    return Perceivers(**{**parts, **changed})
