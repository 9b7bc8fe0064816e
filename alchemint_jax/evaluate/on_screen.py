"""When a subject is on screen, by where it was detected and by what its pictures tell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from alchemint_jax.annotate import follow
from alchemint_jax.annotate import tracks as tracking
from alchemint_jax.annotate.rows import Row, clock_of
from alchemint_jax.annotate.settings import Detect, Presence, Track
from alchemint_jax.annotate.stages import spans as presence_stage
from alchemint_jax.evaluate import clip, cutoff, faint, matching
from alchemint_jax.evaluate.places import Places, Regained
from alchemint_jax.perceive import Detector, Embedder
from alchemint_jax.perceive.pixels import on_square

_PART = 0.2  # seconds that are gone through together where a subject is cut off
_LOOKS = 3  # frames of a gap that are looked at


@dataclass(frozen=True, eq=False)
class OnScreen:
    """A clip in which a subject is looked for; settings are those of `PerceivedTracker`.

    Attributes:
        video: the clip.
        row: the same as annotation sees it.
        embedder: says how alike pictures are.
        detect: how frames are searched.
        follow: how detections become tracks.
        presence: when a subject counts as on screen.
        match: how alike what is found must be to be the subject.
    """

    video: clip.Video
    row: Row
    embedder: Embedder
    detect: Detect
    follow: Track
    presence: Presence
    match: matching.Match

    def detected(self, seen: Sequence[tracking.Seen], missed: Sequence[int]) -> np.ndarray:
        """Whether a subject is on screen in each frame [f]: as in annotation, but for gaps.

        Where it was not detected for a while, it is looked at what is in its place meanwhile.
        """
        row, chosen = self.row, self.presence
        clock = clock_of(row)
        gap, inside = clock.count(chosen.gap), clock.count(chosen.inside)
        rows = [[one.frame, *one.box.tolist(), one.score] for one in seen]
        subject = {"seen": rows, "missed": missed}

        def closed(end: int, start: int) -> bool:
            may = presence_stage.is_closed(subject, row["size"], gap, inside, end, start)
            return may and (start - end < gap or self._is_still_there(seen, end, start))

        scores = presence_stage.curve(subject, row["frames"])
        least = max(1, min(clock.count(chosen.least), row["frames"]))
        there = np.zeros(row["frames"], bool)
        for start, end in presence_stage.hysteresis(scores, chosen.on, chosen.off, closed, least):
            there[start:end] = True
        return there

    def recognised(
        self,
        detector: Detector,
        seen: Sequence[tracking.Seen],
        missed: Sequence[int],
        there: np.ndarray,
        pictures: Float[np.ndarray, "_ _"],
    ) -> tuple[list[tracking.Seen], np.ndarray]:
        """Detections and presence, with what is hardly detected and known by its `pictures`."""
        size = (self.row["size"][0], self.row["size"][1])
        places = Places(self.video, self.detect.side, size, self.embedder, pictures)
        found, there = self._faint(detector, seen, missed, there, places)
        return found, self._at_the_border(found, there, places)

    @property
    def _half_way(self) -> float:
        """As alike as what is surely the subject where it is plain may be where it is not."""
        return (self.match.least + self.match.same) / 2

    def _at_the_border(
        self, seen: Sequence[tracking.Seen], there: np.ndarray, places: Places
    ) -> np.ndarray:
        """Presence, with what the border cuts off and the detector does not see.

        What is in the place of a subject that surely looked like the reference is still the subject
        if it does so half-way.
        """

        def shows(one: tracking.Seen, number: int) -> bool:
            sure = places.likeness(one.box, one.frame) >= self.match.same
            return sure and places.shows(one, one.box, number, self._half_way)

        clock = clock_of(self.row)
        return cutoff.followed(
            there,
            seen,
            places.size,
            most=clock.count(self.presence.inside),
            part=max(1, clock.count(_PART)),
            recent=clock.count(follow.RECENT),
            leaving=clock.count(self.follow.border),
            shows=shows,
        )

    def _faint(
        self,
        detector: Detector,
        seen: Sequence[tracking.Seen],
        missed: Sequence[int],
        there: np.ndarray,
        places: Places,
    ) -> tuple[list[tracking.Seen], np.ndarray]:
        """Detections and presence, with what the detector hardly sees."""
        clock = clock_of(self.row)
        regained = Regained(
            places,
            self.row,
            detector,
            self.detect,
            overlap=self.follow.overlap,
            least=self._half_way,
            held=(self.match.least + self._half_way) / 2,
            missed=frozenset(missed),
        )
        found = faint.followed(
            there,
            seen,
            sure=self.match.sure,
            recent=clock.count(follow.RECENT),
            patience=clock.count(self.presence.gap),
            look=regained.look,
        )
        if not found:
            return list(seen), there
        seen = sorted([*seen, *found], key=lambda one: one.frame)
        beyond = self.detected(seen, missed)
        beyond[[one.frame for one in found]] = True
        return seen, there | beyond

    def _is_still_there(self, seen: Sequence[tracking.Seen], end: int, start: int) -> bool:
        """Whether what is where it should be in [end, start) is like it before and after."""
        before = max((one for one in seen if one.frame < end), key=lambda one: one.frame)
        after = min((one for one in seen if one.frame >= start), key=lambda one: one.frame)
        between = np.linspace(end, start - 1, min(_LOOKS, start - end)).round().astype(int)
        frames = [before.frame, *dict.fromkeys(between.tolist()), after.frame]
        share = [(f - before.frame) / (after.frame - before.frame) for f in frames]
        boxes = dict(
            zip(frames, [(1 - t) * before.box + t * after.box for t in share], strict=True)
        )
        pictures = [
            on_square(follow.crop(frame, boxes[f], self.row["size"]))
            for f, frame in clip.read(self.video, frames, self.detect.side)
        ]
        vectors = np.asarray(self.embedder.embed(pictures), np.float64)
        alike = vectors[1:-1] @ vectors[[0, -1]].T
        return bool(alike.min(1).mean() >= self.match.same)
