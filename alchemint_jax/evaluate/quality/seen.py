"""Where the subjects of a scene are, in a few frames: what a detector finds and an embedder tells
apart. Whoever has followed them through the video makes a `Seen` of that instead.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float32, Int, UInt8
from scipy.optimize import linear_sum_assignment

from alchemint_jax.annotate.words import category_of
from alchemint_jax.evaluate.quality.cutting import Reference, show
from alchemint_jax.perceive import Detector, Embedder
from alchemint_jax.perceive.pixels import cut, grow
from alchemint_jax.wording import same_word

SURE = 0.25
"""The least score of a detection that counts; a detector's own threshold may be higher."""


@dataclasses.dataclass(frozen=True, eq=False)
class Seen:
    """Where each of k subjects is in n frames of a video.

    Attributes:
        frames: their numbers, in order, `[n]`.
        boxes: (left, top, right, bottom) in pixels, `[k, n, 4]`; NaN where a subject is not seen.
        known: whether each subject was looked for at all, `[k]`: a detector may not know its word.

    Examples:
        >>> boxes = np.full((1, 2, 4), np.nan, np.float32)
        >>> boxes[0, 1] = (10, 10, 40, 60)
        >>> seen = al.evaluate.quality.Seen(np.array([0, 8]), boxes, np.array([True]))
        >>> seen.present.tolist()
        [[False], [True]]

    Source:
        This repository.
    """

    frames: Int[np.ndarray, " n"]
    boxes: Float32[np.ndarray, "k n 4"]
    known: Bool[np.ndarray, " k"]

    @property
    def present(self) -> Bool[np.ndarray, "n k"]:
        """Whether each subject is seen in each frame."""
        return ~np.isnan(self.boxes).any(-1).T


def look(
    video: UInt8[np.ndarray, "f h w 3"],
    words: Sequence[str],
    references: Sequence[Sequence[Reference]],
    frames: Int[np.ndarray, " n"],
    detector: Detector,
    embedder: Embedder | None,
) -> Seen:
    """Looks for subjects in some frames.

    Every frame is looked at by itself. Subjects that a detector has one word for are told apart by
    their likeness to their references, and each box shows one of them at most. Without an embedder,
    or a reference, what counts is how sure the detector is.

    Args:
        video: the frames.
        words: of each of k subjects.
        references: pictures of each of them.
        frames: numbers of those to look at.
        detector: who looks.
        embedder: who tells them apart.
    """
    asked = [detector_word(word, detector.vocabulary) for word in words]
    known = np.array([word is not None for word in asked], bool)
    boxes = np.full((len(words), len(frames), 4), np.nan, np.float32)
    distinct = [*dict.fromkeys(word for word in asked if word is not None)]
    if not distinct:
        return Seen(frames, boxes, known)
    vectors = [
        embedder.embed([one.subject for one in some]) if embedder and some else None
        for some in references
    ]
    for column, found in enumerate(detector.detect(video[frames], distinct)):
        for number, word in enumerate(distinct):
            subjects = [i for i, own in enumerate(asked) if own == word]
            rows = np.flatnonzero((found.words == number) & (found.scores >= SURE))
            suits = np.broadcast_to(found.scores[rows], (len(subjects), len(rows))).copy()
            if embedder is not None and len(rows) and max(suits.shape) > 1:
                looks = embedder.embed(_crops(video[frames[column]], found.boxes[rows]))
                for i, subject in enumerate(subjects):
                    if (own := vectors[subject]) is not None:
                        suits[i] = (looks @ own.T).max(1)
            for i, chosen in zip(*linear_sum_assignment(suits, maximize=True), strict=True):
                boxes[subjects[i], column] = found.boxes[rows[chosen]]
    return Seen(frames, boxes, known)


def detector_word(word: str, vocabulary: Sequence[str] | None) -> str | None:
    """A detector's word for a subject: its own, its last part, or that of its category.

    None if the detector knows none of them.
    """
    if vocabulary is None:
        return word
    category = category_of(word)
    parts = same_word(word).split()
    names = [*parts[-1:], category.name, category.detector] if category else parts[-1:]
    known = {name.lower(): name for name in vocabulary}
    return next((known[n] for n in (same_word(word), *names) if n is not None and n in known), None)


def _crops(frame: np.ndarray, boxes: Float32[np.ndarray, "m 4"]) -> list[np.ndarray]:
    places = grow(boxes, 0.0, *frame.shape[:2])
    return [show(cut(frame, place)) for place in places if place is not None]
