"""Who watches the clips: a `Tracker` says when each subject of a case was on screen.

A world brings one that knows its subjects; for real video `perceived` makes one of a detector and
an embedder. What it measures beyond time and identity, it names itself.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Hashable, Mapping, Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float, UInt8

from alchemint_jax.scene.scene import Scene
from alchemint_jax.scene.spans import Spans


@dataclasses.dataclass(frozen=True, eq=False)
class Sighting:
    """What was seen of one subject.

    Attributes:
        presence: whether it is on screen, for each of the f frames.
        asked: what its reference image shows. `str` of it is for people, such as "red disc":
            subjects whose looks share a word are similar ones.
        seen: what was seen of it, of the same kind; None if nothing was.
        figures: those that the tracker's `measures` name; NaN where there was nothing to measure.
        likeness: how alike what was seen of it in each frame is to the reference of each of the r
            subjects of the case, 1 for the same; NaN where it was not seen. None if the tracker
            does not compare frame by frame: what is measured by it is then not known.
        boxes: (left, top, right, bottom) in pixels, NaN where it was not seen; None if not known.
        remark: how it was looked for, or why it could not be, where people should know; a sentence.
        told: whether a reference can tell who it is; without one its identity is not known.

    Examples:
        >>> seen = al.evaluate.Sighting(np.array([False, True, True, False]), "disc", "disc")
        >>> seen.spans, seen.identity
        (((1, 3),), True)

    Source:
        This repository.
    """

    presence: Bool[np.ndarray, " f"]
    asked: Hashable
    seen: Hashable | None
    figures: Mapping[str, float] = dataclasses.field(default_factory=dict)
    likeness: Float[np.ndarray, "f r"] | None = None
    boxes: Float[np.ndarray, "f 4"] | None = None
    remark: str = ""
    told: bool = True

    @property
    def spans(self) -> Spans:
        """The frames in which it is on screen."""
        return Spans.where(self.presence)

    @property
    def identity(self) -> bool:
        """Whether what was seen is what the reference shows."""
        return self.seen == self.asked


@runtime_checkable
class Tracker(Protocol):
    """Finds the subjects of a case in a clip.

    It may also have attributes that say more of it: `streams`, true if it takes a `clip.Clip` as
    well, and so never holds a long video in memory; `side`, the longest side in pixels of the
    frames that it wants; `fingerprint`, plain values that its sightings depend on, so that videos
    are measured again where they change; `needs_pictures`, false if it also finds subjects without
    any by their word; and `variations`, trackers with another threshold as
    (value, tracker) pairs, by name of the threshold, for the curves of a calibration.

    Examples:
        >>> isinstance(al.evaluate.perceived_tracker(), al.evaluate.Tracker)
        True

    Source:
        This repository.
    """

    @property
    def measures(self) -> Mapping[str, str]:
        """Titles of the figures of its own, by name; of each, more is better."""

    @property
    def notes(self) -> Mapping[str, str]:
        """What readers of a report should know of how it measures: sentences by heading."""

    def check(self, image: UInt8[np.ndarray, "h w 3"]) -> None:
        """Raises DataError if this reference image shows nothing that it can follow."""

    def track(self, video: UInt8[np.ndarray, "f h w 3"], case: Scene) -> Sequence[Sighting]:
        """One `Sighting` for each of the subjects, in their order.

        It is given the case without its times (its subjects have no `spans`, and there are no
        `events`):
        when a subject should be there is not for it to know.
        """
