"""Clips of coloured rectangles on grey, and perceivers that know them by their colour."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from alchemint_jax import media
from alchemint_jax.perceive import Detections
from alchemint_jax.perceive.choose import Perceivers
from alchemint_jax.perceive.shots import ContentShots

COLORS = {"dog": (220, 40, 40), "cat": (40, 190, 60), "car": (50, 70, 220)}
HEIGHT, WIDTH = 48, 80


def draw(frames, things, size=(HEIGHT, WIDTH), ground=128):
    """`things`: word, and for each frame (left, top, width, height) or None."""
    video = np.full((frames, *size, 3), ground, np.uint8)
    for word, places in things:
        for frame, place in zip(video, places, strict=True):
            if place is not None:
                left, top, width, height = place
                y, x = (slice(max(0, a), max(0, a + n)) for a, n in ((top, height), (left, width)))
                frame[y, x] = COLORS[word]
    return video


def still(frames, spans, place=(20, 10, 16, 16)):
    """A thing that is at one place in these frames."""
    return [place if any(s <= f < e for s, e in spans) else None for f in range(frames)]


def write(path, video, fps=10.0):
    media.write_video(path, video, fps)
    return path


def masks(video, word):
    return np.abs(video.astype(int) - COLORS[word]).sum(-1) < 120


@dataclass(frozen=True)
class BlobDetector:
    """`calls` counts the frames that it looked at."""

    vocabulary: tuple[str, ...] | None = tuple(COLORS)
    calls: list | None = None

    def detect(self, video, words):
        if self.calls is not None:
            self.calls.append(len(video))
        return [self._frame(frame, words) for frame in video]

    def _frame(self, frame, words):
        from scipy import ndimage

        rows = []
        for number, word in enumerate(words):
            known = word.split()[-1]
            if known in COLORS:
                parts, _ = ndimage.label(masks(frame, known))
                for y, x in ndimage.find_objects(parts):
                    if (y.stop - y.start) * (x.stop - x.start) >= 12:
                        rows.append((x.start, y.start, x.stop, y.stop, 0.9, number))
        found = np.array(rows, np.float32).reshape(-1, 6)
        return Detections(found[:, :4], found[:, 4], found[:, 5].astype(int))


class BlobSegmenter:
    def segment(self, video, boxes):
        found = np.zeros(video.shape[:3], bool)
        for mask, frame, box in zip(found, video, boxes, strict=True):
            if not np.isnan(box[0]):
                left, top, right, bottom = np.rint(box).astype(int)
                inside = frame[top:bottom, left:right].astype(int)
                mask[top:bottom, left:right] = np.ptp(inside, axis=-1) > 40
        return found


class BlobEmbedder:
    def embed(self, images):
        if not len(images):
            return np.zeros((0, 3), np.float32)
        means = np.stack([image.reshape(-1, 3).mean(0) for image in images]) - 100
        return (means / np.linalg.norm(means, axis=1, keepdims=True)).astype(np.float32)


def perceivers(**changed):
    parts = {
        "detector": BlobDetector(),
        "segmenter": BlobSegmenter(),
        "embedder": BlobEmbedder(),
        "shots": ContentShots(threshold=25.0),
    }
    return Perceivers(**{**parts, **changed})


# By these names processes of their own find them.
DETECTOR, SEGMENTER, EMBEDDER = BlobDetector(), BlobSegmenter(), BlobEmbedder()
SHOTS = ContentShots(threshold=25.0)
NAMES = [
    f"perceive.{name}=blobs:{name.upper()}"
    for name in ("detector", "segmenter", "embedder", "shots")
]
FAST = ["pictures.side=48", "select.pixels=8", "pairs.copy=1.1", "select.sharpness=0"]
