"""Who watches the clips: a `Tracker` says when each subject of a case was on screen.

A world brings one that knows its subjects; for real video it is made of a detector and whatever
tells one subject from another. What it measures beyond time and identity, it names itself.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Hashable, Mapping, Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, UInt8

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
    """

    presence: Bool[np.ndarray, " f"]
    asked: Hashable
    seen: Hashable | None
    figures: Mapping[str, float] = dataclasses.field(default_factory=dict)

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
    """Finds the subjects of a case in a clip."""

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
