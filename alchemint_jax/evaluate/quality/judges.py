"""Who looks at a video for its figures, and what these are called."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TypeVar

import numpy as np

from alchemint_jax.errors import ConfigError
from alchemint_jax.evaluate.quality import motion
from alchemint_jax.evaluate.quality.frechet import Features
from alchemint_jax.evaluate.quality.i3d import I3dFeatures
from alchemint_jax.evaluate.quality.lpips import Lpips
from alchemint_jax.perceive import Detector, Embedder, Segmenter, TextEmbedder
from alchemint_jax.perceive.choose import Perceivers

Distance = Callable[[np.ndarray, np.ndarray], float]
"""How different a video looks from another one, such as `Lpips`."""

_T = TypeVar("_T")


@dataclasses.dataclass(frozen=True)
class Judges:
    """Whoever looks at a video. What is None is done without.

    Attributes:
        embedder: tells how alike images are.
        clip: tells how well a text describes an image, and how alike backgrounds are.
        detector: finds subjects.
        segmenter: cuts them out.
        flow: optical flow.
        lpips: how different frames look from those of the truth.
        features: what a Frechet video distance compares.

    Examples:
        >>> al.evaluate.quality.Judges().flow is None
        True

    Source:
        This repository.
    """

    embedder: Embedder | None = None
    clip: TextEmbedder | None = None
    detector: Detector | None = None
    segmenter: Segmenter | None = None
    flow: motion.Flow | None = None
    lpips: Distance | None = None
    features: Features | None = None

    @classmethod
    def of(cls, perceivers: Perceivers, sets: bool = False) -> Judges:
        """Perceivers, and what is there of the extra [metrics].

        Their embedder is `clip` too, if it knows texts.

        Args:
            perceivers: who looks.
            sets: whether `features` are wanted, which take time and memory.
        """
        looks = perceivers.embedder
        return cls(
            looks,
            looks if isinstance(looks, TextEmbedder) else None,
            perceivers.detector,
            perceivers.segmenter,
            _if_there(motion.load_farneback),
            _if_there(Lpips.load),
            _if_there(I3dFeatures.load) if sets else None,
        )


def _if_there(load: Callable[[], _T]) -> _T | None:
    try:
        return load()
    except ConfigError:  # the extra is not installed
        return None
