"""Subjects on the ground of another clip: Kaleido's cross-context pairs (arXiv 2510.18573, A.1).

A subject that was cut out is shown in front of a frame of a clip that has nothing to do with it, so
that a model learns to take the subject from its picture, and nothing of what is around it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import UInt8

from alchemint_jax.data import buckets
from alchemint_jax.data.sources import AnyClip

CONTEXT = "context"
"""The kind of such a picture, as records say it."""
_TRIES = 8


def ground(
    clips: Sequence[AnyClip], number: int, size: tuple[int, int], random: np.random.Generator
) -> UInt8[np.ndarray, "h w 3"] | None:
    """A frame of another video that covers a canvas, cut evenly.

    Args:
        clips: of a split.
        number: of the clip that it is for. Scenes of the same video are left alone, too.
        size: of the canvas.
        random: draws the clip and the frame.

    Returns:
        The frame; None where no other video was found.

    Raises:
        DataError: the clip is damaged.
    """
    own = _video_of(clips[number], number)
    for other in random.choice(len(clips), min(_TRIES, len(clips)), replace=False).tolist():
        clip = clips[other]
        if other == number or _video_of(clip, other) == own:
            continue
        scene = clip.scene()
        assert scene.size is not None
        frame = int(random.integers(scene.clock.frames))
        (pixels,) = clip.frames(frame, frame + 1, buckets.cover(scene.size, size))
        return buckets.crop(pixels, size)
    return None


def _video_of(clip: AnyClip, number: int) -> str:
    """What a clip was cut from, where it says so; else a name of its own."""
    return str(getattr(clip, "line", {}).get("source") or number)
