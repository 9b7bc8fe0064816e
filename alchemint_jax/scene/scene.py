"""A scene: what a clip shows, or is to show, and when."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from alchemint_jax import images
from alchemint_jax.scene.clock import Clock
from alchemint_jax.scene.limits import Limits
from alchemint_jax.scene.spans import Spans

Pictures = Sequence[Path] | np.ndarray
"""Files, which are read when they are looked at, or uint8 [n h w 3]."""


@dataclass(frozen=True, eq=False)
class Subject:
    """A subject of a scene.

    Attributes:
        word: what the caption calls it.
        spans: the pixel frames in which it is on screen.
        pictures: views of it. In records of encoded datasets, latents [v h w c].
    """

    word: str
    spans: Spans
    pictures: Pictures = ()

    def picture(self, size: tuple[int, int], view: int = 0) -> UInt8[np.ndarray, "h w 3"]:
        """A view of it in (height, width) pixels: as large as fits, centred on white.

        Raises:
            StoryboardError: the file cannot be read; the message begins with its path.
        """
        source = self.pictures[view]
        if isinstance(source, Path):
            return images.load_reference(source, size)
        return images.fit_references(source, size)


@dataclass(frozen=True)
class Event:
    """A text, and the pixel frames that it is about."""

    text: str
    spans: Spans


@dataclass(frozen=True, eq=False)
class Scene:
    """What a clip shows, or is asked to show.

    Attributes:
        id: what it is called in reports, and in errors.
        caption: of the whole clip; the prompt of generation.
        clock: its frames, how fast they go, and how many an autoencoder joins.
        subjects: who is on screen when.
        events: what is said of which frames.
        keyframes: given frames of the clip itself.
        keyframes_at: which pixel frames they are, in ascending order; None is the first one or, of
            two, the first and the last one.
        size: height and width in pixels; None where nobody knows, as of latents.
        cuts: pixel frames that begin another shot, in ascending order; the first one never does.
    """

    id: str
    caption: str
    clock: Clock
    subjects: tuple[Subject, ...] = ()
    events: tuple[Event, ...] = ()
    keyframes: Pictures = ()
    size: tuple[int, int] | None = None
    keyframes_at: tuple[int, ...] | None = None
    cuts: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.keyframes_at is not None and len(self.keyframes_at) != len(self.keyframes):
            raise ValueError(f"{self.id}: keyframes_at: must have one frame for each keyframe")

    @property
    def given_at(self) -> tuple[int, ...]:
        """The pixel frame of each keyframe."""
        if self.keyframes_at is not None:
            return self.keyframes_at
        return (0, int(self.clock.frames) - 1)[: len(self.keyframes)]

    def given(self, size: tuple[int, int]) -> dict[int, UInt8[np.ndarray, "h w 3"]]:
        """The keyframes in (height, width) pixels, by their pixel frames; see `keyframe`."""
        return {at: self.keyframe(number, size) for number, at in enumerate(self.given_at)}

    def keyframe(self, number: int, size: tuple[int, int]) -> UInt8[np.ndarray, "h w 3"]:
        """A given frame, scaled to cover (height, width) pixels; what stands out is cut off.

        Raises:
            StoryboardError: the file cannot be read; the message begins with its path.
        """
        return images.load_keyframe(self.keyframes[number], size)

    def check(self, limits: Limits) -> None:
        """Refuses a scene that a model with these limits cannot render.

        Raises:
            StoryboardError: naming the field and everything that the model can do.
        """
        limits.check(
            self.id,
            subjects=len(self.subjects),
            events=bool(self.events),
            keyframes=self.given_at,
            cuts=self.cuts,
            clock=self.clock,
            size=limits.sizes[0] if self.size is None else self.size,
        )
