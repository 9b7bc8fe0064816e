"""Pictures of what was seen beside the reference pictures: how alike they are.

An embedder is shown every picture whole, in a white square: what is squashed is less like itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8

from alchemint_jax.annotate.follow import unit
from alchemint_jax.perceive import Embedder, TextEmbedder
from alchemint_jax.perceive.pixels import on_square
from alchemint_jax.scene.scene import Subject

_SIDE = 384  # pixels at which references are looked at
_WHITE = 250


def trimmed(image: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "h2 w2 3"]:
    """A picture without the white around it."""
    ink = image.min(-1) < _WHITE
    rows, columns = np.flatnonzero(ink.any(1)), np.flatnonzero(ink.any(0))
    if not len(rows):
        return image[:0, :0]
    return image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


@dataclass(frozen=True, eq=False)
class View:
    """A picture of something that was seen.

    Attributes:
        vector: of length 1.
        likeness: to the reference of each subject, to the nearest one of several; NaN for one
            without any.
        texts: how well the word of each subject names it; NaN where the embedder takes no texts.
    """

    vector: Float[np.ndarray, " d"]
    likeness: Float[np.ndarray, " r"]
    texts: Float[np.ndarray, " r"]


@dataclass(frozen=True, eq=False)
class References:
    """The reference pictures of a case, as vectors of an embedder.

    Attributes:
        embedder: who compares.
        pictures: vectors of length 1 of those of each subject.
        words: vectors of their words, if it takes texts.
    """

    embedder: Embedder
    pictures: tuple[Float[np.ndarray, "_ _"], ...]
    words: Float[np.ndarray, "r d"] | None

    @classmethod
    def of(cls, embedder: Embedder, subjects: Sequence[Subject]) -> References:
        """Those of the subjects of a case.

        Raises:
            StoryboardError: a picture cannot be read.
        """
        found = []
        for subject in subjects:
            views = [
                trimmed(subject.picture((_SIDE, _SIDE), view))
                for view in range(len(subject.pictures))
            ]
            pictures = [on_square(view) for view in views]
            vectors = embedder.embed(pictures) if pictures else np.zeros((0, 1))
            found.append(np.asarray(vectors, np.float64))
        words = None
        if isinstance(embedder, TextEmbedder):
            words = np.asarray(embedder.embed_texts([s.word for s in subjects]), np.float64)
        return cls(embedder, tuple(found), words)

    def compare(self, crops: Sequence[Sequence[np.ndarray]]) -> list[list[View]]:
        """How alike pictures are to the references; the lists are parallel to those given."""
        flat = [on_square(image) for some in crops for image in some]
        vectors = iter(np.asarray(self.embedder.embed(flat), np.float64))
        return [[self._view(next(vectors)) for _ in some] for some in crops]

    def _view(self, vector: np.ndarray) -> View:
        likeness = np.array(
            [float((some @ vector).max()) if len(some) else np.nan for some in self.pictures]
        )
        texts = np.full(len(likeness), np.nan) if self.words is None else self.words @ vector
        return View(vector, likeness, texts)


def mean_vectors(views: Sequence[Sequence[View]]) -> Float[np.ndarray, "n d"]:
    """The mean vector of each list of pictures, of length 1."""
    if not views:
        return np.zeros((0, 1))
    return unit(np.stack([np.mean([view.vector for view in some], axis=0) for some in views]))
