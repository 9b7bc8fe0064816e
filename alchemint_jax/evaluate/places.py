"""What is in a place of a frame: is it the subject, where nothing was detected?"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, UInt8

from alchemint_jax.annotate import follow, looks, swaps, words
from alchemint_jax.annotate.rows import Row
from alchemint_jax.annotate.settings import Detect
from alchemint_jax.annotate.stages.detect import search
from alchemint_jax.annotate.tracks import Seen, clipped, goes_on
from alchemint_jax.evaluate import clip
from alchemint_jax.perceive import Detector, Embedder
from alchemint_jax.perceive.pixels import on_square

_SMALL = 8  # pixels, the shorter side of a place: less says nothing
_MORE = 0.1  # by which a subject is more like its reference than the places beside it
_HALF = 0.5  # of a place beside it that is in the frame

Box = Float[np.ndarray, " 4"]


@dataclass(frozen=True, eq=False)
class Places:
    """Places in a clip, compared with the pictures of one subject.

    Attributes:
        video: the clip.
        side: longest side at which its frames are looked at.
        size: height and width of the picture that boxes are in.
        embedder: who compares.
        pictures: vectors of length 1 of the pictures of the subject.
    """

    video: clip.Video
    side: int
    size: tuple[int, int]
    embedder: Embedder
    pictures: Float[np.ndarray, "_ _"]
    _known: dict[tuple[int, tuple[float, ...]], tuple[np.ndarray, np.ndarray]] = field(
        default_factory=dict
    )
    _frame: dict[int, np.ndarray] = field(default_factory=dict)

    def frame(self, number: int) -> UInt8[np.ndarray, "h w 3"]:
        """A frame at that side; the last one is kept, for it is looked at several times."""
        if number not in self._frame:
            self._frame.clear()
            self._frame.update(clip.read(self.video, [number], self.side))
        return self._frame[number]

    def likeness(self, box: Box, frame: int) -> float:
        """Of what is there to the nearest one of the pictures."""
        return float((self.pictures @ self._look(box, frame)[0]).max())

    def alike(self, one: Seen, box: Box, frame: int) -> float:
        """How much alike a detection and what is in a place are, by vectors and by colours."""
        pair = zip(self._look(one.box, one.frame), self._look(box, frame), strict=True)
        return float(np.mean([a @ b for a, b in pair]))

    def contrast(self, box: Box, frame: int) -> float:
        """By how much it is more like the pictures than what is at both sides of it."""
        others = [self.likeness(place, frame) for place in beside(box, self.size)]
        return self.likeness(box, frame) - max(others, default=-1.0)

    def shows(self, one: Seen, box: Box, frame: int, least: float) -> bool:
        """Whether a place shows a detection's subject: the ground is not so like the pictures, and
        another one not as like the detection (see `swaps`).
        """
        if self.likeness(box, frame) < least:
            return False
        return self.alike(one, box, frame) >= swaps.OTHER

    def best(self, boxes: Sequence[Box], frame: int) -> Box | None:
        """The one of them, as far as it is in the frame, that is most like the pictures."""
        some = [clipped(box, self.size) for box in boxes]
        some = [box for box in some if (box[2:] - box[:2]).min() >= _SMALL]
        return max(some, key=lambda box: self.likeness(box, frame), default=None)

    def _look(self, box: Box, frame: int) -> tuple[np.ndarray, np.ndarray]:
        """The vector and the colours of a place."""
        key = frame, tuple(box.tolist())
        if key not in self._known:
            image = follow.crop(self.frame(frame), box, self.size)
            vector = self.embedder.embed([on_square(image)])[0]
            self._known[key] = np.asarray(vector, float), looks.color_vector(image)
        return self._known[key]


@dataclass(frozen=True, eq=False)
class Regained:
    """Looks for a subject in frames in which its track does not go on; see `faint`.

    Attributes:
        places: of it.
        row: the clip, and what is looked for.
        detector: who looks for it.
        detect: how.
        overlap: the least overlap of a detection with where it is expected.
        least: the least likeness to its pictures of what is recognised ...
        held: ... and of what is something like it.
        missed: frames in which the detector did not find it.
    """

    places: Places
    row: Row
    detector: Detector
    detect: Detect
    overlap: float | int
    least: float
    held: float
    missed: frozenset[int]

    def look(
        self, known: Mapping[int, Seen], frame: int, boxes: Sequence[Box]
    ) -> tuple[Seen, bool] | None:
        """See `faint.Look`: where it is detected, or else in the best one of these boxes."""
        last = known[min(known, key=lambda other: abs(other - frame))]
        some = [self._detected(known, frame), boxes]
        best = [box for one in some if (box := self.places.best(one, frame)) is not None]
        for box in best:
            if self.recognises(last, box, frame):
                return dataclasses.replace(last, frame=frame, box=box), True
        for box in best:
            if self.holds(last, box, frame):
                return dataclasses.replace(last, frame=frame, box=box), False
        return None

    def recognises(self, last: Seen, box: Box, frame: int) -> bool:
        """Whether a place shows the subject, and those beside it do not."""
        shows = self.places.shows(last, box, frame, self.least)
        return shows and self.places.contrast(box, frame) >= _MORE

    def holds(self, last: Seen, box: Box, frame: int) -> bool:
        """Whether a place shows something like it that looks as it did where it was last seen."""
        if self.places.likeness(box, frame) < self.held:
            return False
        same = self.places.alike(last, box, frame) >= swaps.SAME
        return same and self.places.contrast(box, frame) >= _MORE / 2

    def _detected(self, known: Mapping[int, Seen], frame: int) -> list[Box]:
        if frame in self.missed:
            return []
        frames = [(frame, self.places.frame(frame))]
        found = [Seen.read(one) for one in search(frames, self.detector, self.row, self.detect)]
        one = goes_on(known, frame, found, words.kind_of, self.overlap)
        return [] if one is None else [one.box]


def beside(box: Box, size: tuple[int, int]) -> list[Box]:
    """The places at the left and at the right of a box, as far as they are in the frame."""
    width = box[2] - box[0]
    found = []
    for shift in (-width, width):
        place = box + np.array([shift, 0, shift, 0])
        place[::2] = np.clip(place[::2], 0, size[1])
        if place[2] - place[0] >= _HALF * width:
            found.append(place)
    return found
