"""Who is in this frame, and where: what is asked of networks that look at real video.

These are protocols. A back end, whatever it runs on, is an object with what its protocol
names; models and thresholds are its own affair. Videos are uint8 [f h w 3], RGB; boxes are
(left, top, right, bottom) in pixels of the frames, from 0 to (w, h), right and bottom exclusive.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float32, Int, UInt8

__all__ = ["Detections", "Detector", "Embedder", "Segmenter", "ShotFinder", "TextEmbedder"]


@dataclasses.dataclass(frozen=True, eq=False)
class Detections:
    """What a detector found in one frame: n boxes, in any order.

    Attributes:
        boxes: (left, top, right, bottom) in pixels, inside the frame, and none of them empty.
        scores: how sure the detector is, in [0, 1].
        words: which of the words that were asked for each box shows, as its index.
    """

    boxes: Float32[np.ndarray, "n 4"]
    scores: Float32[np.ndarray, " n"]
    words: Int[np.ndarray, " n"]

    @classmethod
    def none(cls) -> Detections:
        """Those of a frame in which nothing was found."""
        return cls(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, int))


@runtime_checkable
class Detector(Protocol):
    """Finds what words name."""

    @property
    def vocabulary(self) -> tuple[str, ...] | None:
        """All words that it knows; None if any word may be asked for."""

    def detect(
        self, video: UInt8[np.ndarray, "f h w 3"], words: Sequence[str]
    ) -> Sequence[Detections]:
        """What shows one of the words, for each of the f frames.

        Every frame is looked at by itself, so the result does not depend on its neighbours. A word
        may be found several times in a frame, or never; a detector of fixed classes finds nothing
        for a word that it does not know. No words find nothing.
        """


@runtime_checkable
class Segmenter(Protocol):
    """Cuts one subject out."""

    def segment(
        self, video: UInt8[np.ndarray, "f h w 3"], boxes: Float32[np.ndarray, "f 4"]
    ) -> Bool[np.ndarray, "f h w"]:
        """The pixels of the subject in each frame.

        Args:
            video: the frames.
            boxes: where the subject is. A row of NaN says that nobody knows: a segmenter that
                follows subjects looks for it there, and any other one leaves the frame empty.

        Returns:
            The mask of every frame; it is empty where the subject is not.
        """


@runtime_checkable
class Embedder(Protocol):
    """Tells whether two images show the same subject."""

    def embed(self, images: Sequence[UInt8[np.ndarray, "_ _ 3"]]) -> Float32[np.ndarray, "n d"]:
        """A vector of length 1 for each of the n images, which may differ in size.

        The inner product of two of them, in [-1, 1], is how alike the images are. A vector
        depends on its own image alone.
        """


@runtime_checkable
class TextEmbedder(Embedder, Protocol):
    """An `Embedder` that also tells how well a text describes an image."""

    def embed_texts(self, texts: Sequence[str]) -> Float32[np.ndarray, "n d"]:
        """A vector of length 1 for each text, in the space of those of `embed`.

        The inner product with the vector of an image says how well the text describes it. What
        counts is which of several texts fits best, for its size differs from network to network.
        """


@runtime_checkable
class ShotFinder(Protocol):
    """Finds where one shot ends and the next one begins."""

    def cuts(self, frames: Iterable[UInt8[np.ndarray, "h w 3"]]) -> Iterator[int]:
        """The first frame of every shot but the first one, in order, as they become known.

        This is for videos that do not fit into memory: frames of one size are taken one at a time,
        and a finder holds only the last ones that it has to compare. So it may tell of a cut some
        frames later. They may be smaller than those of the video.
        """

    def find(self, video: UInt8[np.ndarray, "f h w 3"]) -> tuple[tuple[int, int], ...]:
        """The shots as half-open runs of frames [start, end), in order.

        They are what lies between the `cuts`, and cover the video without a gap: an uncut one is a
        single shot, and one without frames has none. A gradual transition is part of one of the
        shots beside it.
        """
