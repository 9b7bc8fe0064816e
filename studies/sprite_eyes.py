"""Perceivers of the sprites world, for videos of it: they know sprites by their colours.

So they take clips whose subjects differ in colour, and words that say it ("red disc").
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, UInt8

from alchemint_jax.annotate import load_settings
from alchemint_jax.perceive import Detections
from alchemint_jax.scene.spans import Spans
from alchemint_jax.worlds.sprites import World, shapes
from alchemint_jax.worlds.sprites.appearance import COLOR_NAMES, hues
from alchemint_jax.worlds.sprites.world import Clip

UPSCALE = 4
"""Pixels of a video on a side of one of the world."""
_FEW = 8  # pixels that are no sprite

SETTINGS = load_settings(
    None,
    # A sprite is on screen from a third of its area on; every frame of so few is searched.
    [
        "detect.every=0.1",
        "detect.floor=0.3",
        "track.start=0.3",
        "track.sure=0.3",
        "track.border=0",
        "track.shortest=0",
        "presence.on=0.3",
        "presence.off=0.3",
        "presence.gap=0",
        "presence.inside=0",
        "presence.least=0",
        "track.alike=0.5",
        "track.overlap=0.05",
        # What is drawn in plain colours is no worse for it.
        "select.sharpness=0",
        "select.border=1",
        "select.shortest=0.25",
    ],
)


def colored(clip: Clip) -> tuple[str, list[str]]:
    """The caption of a clip and the words of its subjects, all of which say their colours."""
    caption, words = clip.scene.caption, []
    for subject, look in zip(clip.scene.subjects, clip.looks, strict=True):
        words.append(f"{look.color} {look.shape}")
        caption = caption.replace(f"a {subject.word} ", f"a {words[-1]} ", 1)
    return caption, words


def by_color(clip: Clip) -> bool:
    """Whether colours tell the subjects of a clip apart."""
    colors = [look.color for look in clip.looks]
    return len({*colors}) == len(colors)


def there_and_back(clip: Clip) -> tuple[UInt8[np.ndarray, "g h w 3"], str, list[Spans]]:
    """A clip, and then the same backwards: who is in one half is seen in the other one, too.

    So windows as long as the clip have pictures of their subjects from outside. Returns the video,
    a caption that is true of both halves, and when each subject is on screen.
    """
    length = len(clip.video)
    caption = re.sub(r" glides (left|right|up|down)\b", " glides", colored(clip)[0])
    spans = []
    for subject in clip.scene.subjects:
        half = np.zeros(length, bool)
        for start, end in subject.spans:
            half[start:end] = True
        spans.append(Spans.where(np.concatenate([half, half[::-1]])))
    return np.concatenate([clip.video, clip.video[::-1]]), caption, spans


@dataclass(frozen=True)
class SpriteDetector:
    """The score is the share of a sprite that is in the picture."""

    vocabulary: tuple[str, ...] | None = None

    def detect(self, video: UInt8[np.ndarray, "f h w 3"], words: Sequence[str]) -> list[Detections]:
        """See `Detector.detect`."""
        found, _ = hues(video[:, UPSCALE // 2 :: UPSCALE, UPSCALE // 2 :: UPSCALE])
        return [_frame(found[:, i], words) for i in range(len(video))]


def _frame(hue: Bool[np.ndarray, "c h w"], words: Sequence[str]) -> Detections:
    rows = []
    for number, word in enumerate(words):
        color, shape = word.split()
        y, x = np.nonzero(hue[COLOR_NAMES.index(color)])
        if len(y) > _FEW:
            box = np.array([x.min(), y.min(), x.max() + 1, y.max() + 1]) * UPSCALE
            share = len(y) / shapes.full_area(shape, World.radius)
            rows.append((*box, min(1.0, share), number))
    found = np.array(rows, np.float32).reshape(-1, 6)
    return Detections(found[:, :4], found[:, 4], found[:, 5].astype(int))


class SpriteSegmenter:
    """The colour that most of a box has."""

    def segment(
        self, video: UInt8[np.ndarray, "f h w 3"], boxes: Float32[np.ndarray, "f 4"]
    ) -> Bool[np.ndarray, "f h w"]:
        """See `Segmenter.segment`."""
        made = np.zeros(video.shape[:3], bool)
        found, _ = hues(video)
        for mask, hue, box in zip(made, found.swapaxes(0, 1), boxes, strict=True):
            if not np.isnan(box[0]):
                left, top, right, bottom = np.rint(box).astype(int)
                inside = hue[:, top:bottom, left:right]
                mask[top:bottom, left:right] = inside[inside.sum((1, 2)).argmax()]
        return made


class SpriteEmbedder:
    """The mean colour of an image."""

    def embed(self, images: Sequence[UInt8[np.ndarray, "_ _ 3"]]) -> Float32[np.ndarray, "n 3"]:
        """See `Embedder.embed`."""
        if not len(images):
            return np.zeros((0, 3), np.float32)
        means = np.stack([image.reshape(-1, 3).mean(0) for image in images]) - 100
        return (means / np.linalg.norm(means, axis=1, keepdims=True)).astype(np.float32)
