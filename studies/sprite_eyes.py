"""Perceivers of the sprites world, for videos of it: they know its colours and its shapes.

So they take clips whose subjects differ in colour. Words are the world's own, "disc" or "red disc".
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float32, Int, UInt8
from scipy import ndimage
from scipy.optimize import linear_sum_assignment

from alchemint_jax.annotate import load_settings
from alchemint_jax.perceive import Detections
from alchemint_jax.scene.spans import Spans
from alchemint_jax.worlds.sprites import World, shapes
from alchemint_jax.worlds.sprites.appearance import COLOR_NAMES, hues, likeness
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
        "track.colors=0",  # the embedder says what colour a sprite has
        "track.overlap=0.05",
        # What is drawn in plain colours is no worse for it.
        "select.sharpness=0",
        "select.border=1",
        "select.shortest=0.25",
    ],
)


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
    caption = re.sub(r" glides (left|right|up|down)\b", " glides", clip.scene.caption)
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
    thick = np.stack([ndimage.binary_opening(one, np.ones((2, 2))) for one in hue])  # no rims
    there = np.flatnonzero(thick.sum((1, 2)) > _FEW)
    fits = np.array([_fits(hue[there], there, word) for word in words])
    fits = fits.reshape(len(words), len(there))  # also where nothing is
    rows = []
    for number, column in zip(*linear_sum_assignment(-fits), strict=True):
        if fits[number, column] > 0:
            y, x = np.nonzero(hue[there[column]])
            box = np.array([x.min(), y.min(), x.max() + 1, y.max() + 1]) * UPSCALE
            share = len(y) / shapes.full_area(words[number].split()[-1], World.radius)
            rows.append((*box, min(1.0, share), number))
    found = np.array(rows, np.float32).reshape(-1, 6)
    return Detections(found[:, :4], found[:, 4], found[:, 5].astype(int))


def _fits(
    masks: Bool[np.ndarray, "n h w"], colors: Int[np.ndarray, " n"], word: str
) -> Float[np.ndarray, " n"]:
    """How well a word fits what has each colour: 2 if it says that one, or as its shape does."""
    *color, shape = word.split()
    if color:
        return 2.0 * (colors == COLOR_NAMES.index(color[0]))
    grid = np.arange(masks.shape[1]) + 0.5
    area = masks.sum((1, 2)).astype(float)
    xy = np.stack([masks.sum(1) @ grid, masks.sum(2) @ grid], -1) / area[:, None]
    return likeness(masks, area, xy)[:, shapes.SHAPES.index(shape)]


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
    """How much of an image has each colour of the world."""

    def embed(self, images: Sequence[UInt8[np.ndarray, "_ _ 3"]]) -> Float32[np.ndarray, "n c"]:
        """See `Embedder.embed`."""
        counts = np.zeros((len(images), len(COLOR_NAMES)), np.float32)
        for row, image in zip(counts, images, strict=True):
            row[:] = hues(image[None])[0].sum((1, 2, 3)) + 1
        return counts / np.linalg.norm(counts, axis=1, keepdims=True)
