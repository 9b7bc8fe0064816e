"""Boxes of whatever stands out: for subjects that no detector has a word for."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float32, UInt8
from scipy import ndimage

from alchemint_jax.annotate.rows import Row
from alchemint_jax.annotate.stages.detect import vocabulary
from alchemint_jax.perceive import Detections, Detector, Segmenter
from alchemint_jax.perceive.boxes import select

THING = "thing"
"""The only word that it knows."""
_EVERYTHING = "person", "car", "dog", "bird", "chair", "bottle", "tv", "book"


@dataclasses.dataclass(frozen=True)
class Proposals:
    """A `Detector` of things of any kind: what another one finds, and what a segmenter cuts out.

    Attributes:
        detector: all that it finds counts, whatever it is taken for; None is nobody.
        segmenter: the parts of what it cuts out of the whole frame count too.
        smallest: share of the frame that a part covers at least.
        score: of such a part; a salient object is as sure as a thing that the detector found well.
        overlap: of two boxes that overlap by more (IoU), the surer one is kept.
    """

    detector: Detector | None
    segmenter: Segmenter
    smallest: float | int = 0.002
    score: float | int = 0.6
    overlap: float | int = 0.5

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """The only word."""
        return (THING,)

    def detect(self, video: UInt8[np.ndarray, "f h w 3"], words: Sequence[str]) -> list[Detections]:
        """See `Detector.detect`."""
        places = [number for number, word in enumerate(words) if word == THING]
        if not places or not len(video):
            return [Detections.none() for _ in video]
        height, width = video.shape[1:3]
        known: Sequence[Detections] = [Detections.none() for _ in video]
        if self.detector is not None:
            known = self.detector.detect(video, self.detector.vocabulary or _EVERYTHING)
        whole = np.tile(np.array([0, 0, width, height], np.float32), (len(video), 1))
        masks = self.segmenter.segment(video, whole)
        return [
            self._merged(one, _parts(mask, self.smallest), (height, width), places)
            for one, mask in zip(known, masks, strict=True)
        ]

    def _merged(
        self,
        known: Detections,
        parts: Float32[np.ndarray, "n 4"],
        size: tuple[int, int],
        places: Sequence[int],
    ) -> Detections:
        boxes = np.concatenate([known.boxes, parts]).astype(np.float32)
        scores = np.concatenate([known.scores, np.full(len(parts), self.score)]).astype(np.float32)
        words = np.full(len(boxes), places[0])
        return select(boxes, scores, words, size, 0.0, self.overlap)


def looked(row: Row, entities: Sequence[Row], detector: Detector) -> Row:
    """A clip with its entities and the words that a detector looks for in it.

    Without entities these are no words, but `Proposals` always look.
    """
    words: Sequence[str] = []
    if isinstance(detector, Proposals):
        words = [THING]
    elif entities:  # what passes for something else now and then is still tracked
        asks = list(dict.fromkeys(entity["ask"] for entity in entities))
        words = vocabulary(detector) or asks
    return {**row, "entities": list(entities), "looked": list(words)}


def _parts(mask: np.ndarray, smallest: float | int) -> Float32[np.ndarray, "n 4"]:
    """Boxes around the connected parts of a mask that are large enough."""
    labels, count = ndimage.label(mask)
    areas = np.bincount(labels.ravel(), minlength=count + 1)[1:]
    rows = [
        (x.start, y.start, x.stop, y.stop)
        for (y, x), area in zip(ndimage.find_objects(labels), areas, strict=True)
        if area >= smallest * mask.size
    ]
    return np.array(rows, np.float32).reshape(-1, 4)
