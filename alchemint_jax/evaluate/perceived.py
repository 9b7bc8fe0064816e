"""A `Tracker` of perceivers: who is on screen in any video, found by category, word and identity.

A subject's word says what kind of thing to look for, as in annotation: the word itself, its
category in the taxonomy, or COCO's word for that, whichever the detector knows. What is found is
followed to the frame, and compared with the reference pictures, which tells apart subjects of one
word. A word that the detector has no kind for is looked for by identity alone, among `proposals`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import UInt8

from alchemint_jax.annotate import follow, words
from alchemint_jax.annotate import tracks as tracking
from alchemint_jax.annotate.rows import Row, clock_of
from alchemint_jax.annotate.settings import Detect, Presence, Track
from alchemint_jax.annotate.stages.detect import asked as askable
from alchemint_jax.annotate.stages.detect import base_frames, search, vocabulary
from alchemint_jax.errors import DataError
from alchemint_jax.evaluate import clip, matching
from alchemint_jax.evaluate.on_screen import OnScreen
from alchemint_jax.evaluate.proposals import THING, Proposals, looked
from alchemint_jax.evaluate.references import (
    References,
    View,
    mean_vectors,
    trimmed,
)
from alchemint_jax.evaluate.tracker import Sighting
from alchemint_jax.perceive import Detector, TextEmbedder
from alchemint_jax.perceive.choose import Perceivers, load_perceivers
from alchemint_jax.perceive.yolo import YoloDetector
from alchemint_jax.scene.clock import Clock
from alchemint_jax.scene.scene import Scene, Subject
from alchemint_jax.wording import same_word

VERSION = 7
"""Raised when the tracker sees other things in the same frames."""
_ALONE = "has no kind that the detector knows: looked for by identity alone"
_BY_WORD = "has no picture: looked for by its word alone"
_NOWHERE = "has no picture, and no kind that the detector knows: nobody can look for it"


@dataclass(frozen=True)
class Look:
    """Who a subject is: its word, and its place among the subjects of the case."""

    word: str
    number: int

    def __str__(self) -> str:
        """For people."""
        return self.word


@dataclass(frozen=True, eq=False)
class _Found:
    """A thing that was seen: its tracks, where it was missed, and its pictures by frame."""

    pieces: list[tracking.Track]
    missed: list[int]
    views: dict[int, View]

    @property
    def candidate(self) -> matching.Candidate:
        """What it is matched by."""
        seen = [one for piece in self.pieces for one in piece.seen]
        return matching.Candidate(
            words=matching.shares(seen),
            score=max(one.score for one in seen),
            runs=sorted((piece.first, piece.last + 1) for piece in self.pieces),
            likeness=np.mean([view.likeness for view in self.views.values()], axis=0),
            boxes={one.frame: one.box for one in seen},
        )


@dataclass(frozen=True, eq=False)
class PerceivedTracker:
    """See the module; `load_perceivers` has the perceivers.

    Attributes:
        perceivers: who looks at frames. An embedder of texts too (CLIP) also gives CLIPtext and
            CLIPref.
        detect: how frames are searched.
        follow: how detections become tracks, also those that are hardly sure, for the reference
            tells; of each, `views` pictures are compared.
        presence: when a subject counts as on screen. Beside its own rules, a gap of `gap` seconds
            or more is closed only if what is in its place meanwhile looks like it, and who is
            hardly detected is followed for as long as it is recognised (see `faint`).
        match: how alike what is found must be to be the subject.
        alone: whether everything is looked for by identity alone, among what the segmenter cuts
            out: a second judge, who does not need the detector.
    """

    perceivers: Perceivers
    detect: Detect = Detect()
    follow: Track = Track(start=0.2, sure=0.2, views=8)
    presence: Presence = Presence(on=0.2, gap=0.1, inside=2.0)
    match: matching.Match = matching.Match()
    alone: bool = False
    streams = True
    needs_pictures = False

    @property
    def fingerprint(self) -> list[Any]:
        """What its sightings depend on: they change with it."""
        looks = (self.perceivers.detector, self.perceivers.segmenter, self.perceivers.embedder)
        chosen = (self.detect, self.follow, self.presence, self.match)
        return [VERSION, *map(repr, looks), *map(repr, chosen), self.alone]

    @property
    def variations(self) -> Mapping[str, Sequence[tuple[float, PerceivedTracker]]]:
        """Trackers with another threshold, by its name: `calibration` draws their curves."""

        def at(part: str, field: str, *values: float) -> list[tuple[float, PerceivedTracker]]:
            base: Any = getattr(self, part)
            changed = [dataclasses.replace(base, **{field: value}) for value in values]
            some: Any = [dataclasses.replace(self, **{part: one}) for one in changed]
            return list(zip(values, some, strict=True))

        return {
            "presence.on": at("presence", "on", 0.2, 0.35, 0.5, 0.65, 0.8),
            "match.same": at("match", "same", 0.3, 0.4, 0.5, 0.6, 0.7),
        }

    @property
    def measures(self) -> Mapping[str, str]:
        """Likeness to the reference where the subject is seen; with a CLIP, its two figures."""
        if isinstance(self.perceivers.embedder, TextEmbedder):
            return {"clip_text": "CLIPtext", "clip_ref": "CLIPref"}
        return {"likeness": "likeness"}

    @property
    def notes(self) -> Mapping[str, str]:
        """For readers of a report."""
        names = [type(one).__name__ for one in (self.perceivers.detector, self.perceivers.embedder)]
        figures = (
            "CLIPtext, CLIPref"
            if isinstance(self.perceivers.embedder, TextEmbedder)
            else "Likeness"
        )
        finder = f"{names[0]} finds the kind of thing that a word names"
        if self.alone:
            finder = f"{type(self.perceivers.segmenter).__name__} cuts out what stands out"
        return {
            "How it is measured": f"{finder}, and {names[1]} compares it with the reference "
            "pictures. Neither is told when a subject should be there.",
            "Detected, identity": "A thing of that kind was seen, which is like the reference by "
            f"{self.match.least:g} at least; and it is more like its reference than like those of "
            f"others, and by {self.match.same:g} at least.",
            figures: "Inner products of the embedder's vectors of what is seen with that of the "
            "reference (CLIPtext: of the word), the mean over the frames in which it is seen. "
            "They compare only with those of the same embedder.",
        }

    def check(self, image: UInt8[np.ndarray, "h w 3"]) -> None:
        """Raises DataError if the picture is of one colour."""
        if min(trimmed(image).shape[:2]) < 8:
            raise DataError("the picture shows nothing to compare with: it is of one colour")

    def track(self, video: clip.Video, case: Scene) -> list[Sighting]:
        """See `Tracker.track`."""
        row = _row(video, case.clock, case.subjects)
        row["searched"] = base_frames(row, self.detect)
        words = () if self.alone else vocabulary(self.perceivers.detector)
        known, unknown = askable(row, words)
        asks = {entity["number"]: entity["ask"] for entity in known}
        references = References.of(self.perceivers.embedder, case.subjects)
        rows = [looked(row, known, self._detector), looked(row, [], self._anything)]
        found = [
            *self._found(video, rows[0], self._detector, references),
            *(self._found(video, rows[1], self._anything, references) if unknown else []),
        ]
        asked = [asks.get(i) for i in range(len(case.subjects))]
        chosen = matching.assign([one.candidate for one in found], asked, THING, self.match)
        return [
            self._sighting(
                video, rows[alone], i, case.subjects, references, [found[k] for k in some], alone
            )
            for i, (some, alone) in enumerate(zip(chosen, [a is None for a in asked], strict=True))
        ]

    @property
    def _detector(self) -> Detector:
        return self.perceivers.detector

    @property
    def _anything(self) -> Detector:
        detector = None if self.alone else self.perceivers.detector
        return Proposals(detector, self.perceivers.segmenter)

    def _found(
        self,
        video: clip.Video,
        row: Row,
        detector: Detector,
        references: References,
    ) -> list[_Found]:
        """What is seen in a clip, each thing once however often it comes and goes."""
        if not row["looked"]:
            return []
        read = clip.reader(video)
        frames = read(row["searched"], self.detect.side)
        row = {**row, "detections": list(search(frames, detector, row, self.detect))}
        asks = {entity["ask"] for entity in row["entities"]}

        def wanted(track: tracking.Track) -> bool:
            named = matching.shares(track.seen)
            return not asks or any(matching.may_fit(named, ask) for ask in asks)

        embedder = self.perceivers.embedder
        made = follow.follow(row, read, detector, self.detect, self.follow, wanted, embedder)
        seen = references.compare(made.crops)
        vectors = mean_vectors(seen)
        near = tracking.continued(made.tracks, clock_of(row).count(self.follow.soon), row["size"])
        # What was lost and found is one thing; what comes back later, the references decide.
        alike = np.where(near > 0, vectors @ vectors.T + self.follow.near, -1.0)
        groups = tracking.identities(made.tracks, alike, self.follow.alike, follow.one_kind)
        return [
            _Found(
                [made.tracks[i] for i in group],
                sorted({f for i in group for f in made.missed[i]}),
                {f: v for i in group for f, v in zip(sorted(made.views[i]), seen[i], strict=True)},
            )
            for group in groups
        ]

    def _sighting(
        self,
        video: clip.Video,
        row: Row,
        number: int,
        subjects: Sequence[Subject],
        references: References,
        found: Sequence[_Found],
        alone: bool,
    ) -> Sighting:
        look = Look(subjects[number].word, number)
        known = len(subjects[number].pictures) > 0
        pieces = [piece for one in found for piece in one.pieces]
        seen, missed = follow.sightings(row, pieces, [one.missed for one in found])
        best = {one.frame: one for one in sorted(seen, key=lambda one: one.score)}
        seen = [best[frame] for frame in sorted(best)]
        screen = OnScreen(
            video,
            row,
            self.perceivers.embedder,
            self.detect,
            self.follow,
            self.presence,
            self.match,
        )
        there = screen.detected(seen, missed) if seen else np.zeros(row["frames"], bool)
        if known and there.any():
            detector = self._anything if alone else self._detector
            pictures = references.pictures[number]
            seen, there = screen.recognised(detector, seen, missed, there, pictures)
        views = {f: view for one in found for f, view in one.views.items()}
        likeness = _filled({f: view.likeness for f, view in views.items()}, there, row["subjects"])
        texts = _filled({f: view.texts for f, view in views.items()}, there, row["subjects"])
        return Sighting(
            presence=there,
            asked=look,
            seen=self._look(look, [s.word for s in subjects], likeness, bool(there.any()), known),
            figures=self._figures(number, likeness, texts),
            likeness=likeness,
            boxes=_between(seen, there),
            remark=_remark(look, known, alone),
            told=known,
        )

    def _look(
        self, look: Look, words: Sequence[str], likeness: np.ndarray, seen: bool, known: bool
    ) -> Look | None:
        """Who it is that was seen; without a picture, what it was taken for."""
        compared = np.isfinite(likeness).any(0)
        if not seen or (known and not compared.any()):
            return None
        if not known:
            return look
        means = np.full(len(words), -np.inf)
        means[compared] = np.nanmean(likeness[:, compared], axis=0)
        best = int(means.argmax())
        if best != look.number:
            return Look(words[best], best)
        return look if means[best] >= self.match.same else Look(f"different {look}", -1)

    def _figures(self, number: int, likeness: np.ndarray, texts: np.ndarray) -> dict[str, float]:
        own, named = (_mean(values[:, number]) for values in (likeness, texts))
        if isinstance(self.perceivers.embedder, TextEmbedder):
            return {"clip_text": named, "clip_ref": own}
        return {"likeness": own}


def _row(video: clip.Video, clock: Clock, subjects: Sequence[Subject]) -> Row:
    """A clip as annotation sees it, and what is looked for in it."""
    entities = []
    for number, subject in enumerate(subjects):
        category = words.category_of(subject.word)
        entities.append(
            {
                "number": number,
                "word": same_word(subject.word),
                "category": category.name if category else None,
                "detector": category.detector if category else None,
            }
        )
    return {
        "fps": clock.fps,
        "frames": len(video),
        "size": list(video.shape[1:3]),
        "entities": entities,
        "subjects": len(subjects),
    }


def _filled(known: Mapping[int, np.ndarray], there: np.ndarray, width: int) -> np.ndarray:
    """Values [f width] of the frames in which something is there: those of the nearest frame."""
    every = np.full((len(there), width), np.nan)
    if known:
        at = np.array(list(known))
        frames = np.flatnonzero(there)
        nearest = np.abs(frames[:, None] - at).argmin(1)
        every[frames] = np.stack(list(known.values()))[nearest]
    return every


def _between(seen: Sequence[tracking.Seen], there: np.ndarray) -> np.ndarray:
    """Boxes [f 4] of the frames in which something is there: on the way from one to the next."""
    every = np.full((len(there), 4), np.nan)
    if seen:
        frames, at = np.flatnonzero(there), [one.frame for one in seen]
        sides = np.stack([one.box for one in seen]).T
        every[frames] = np.stack([np.interp(frames, at, side) for side in sides], 1)
    return every


def _remark(look: Look, known: bool, alone: bool) -> str:
    if not known:
        return f"{look} {_NOWHERE if alone else _BY_WORD}"
    return f"{look} {_ALONE}" if alone else ""


def _mean(values: np.ndarray) -> float:
    """Of what is known."""
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else float("nan")


def perceived_tracker(alone: bool = False, **names: str) -> PerceivedTracker:
    """A tracker that sees any video with perceivers, such as those that come with the package.

    The embedded detector also reports what it is hardly sure of: a track goes on with that. The
    thresholds of likeness are those of the embedded embedder. CLIP finds all pictures more alike,
    and has its own; nobody has calibrated them.

    Args:
        alone: whether everything is looked for by identity alone, without words and a detector.
        names: `detector`, `segmenter` and `embedder`, by the names that `load_perceivers` knows.

    Returns:
        The tracker.

    Raises:
        ConfigError: there is no perceiver of that name, or what it needs is missing.

    Examples:
        >>> tracker = al.evaluate.perceived_tracker(embedder="efficientnet-lite0")
        >>> sorted(tracker.measures)
        ['likeness']

    Source:
        This repository; the perceivers name the papers of their networks.
    """
    found = load_perceivers(**names)
    detect = Detect()
    if isinstance(found.detector, YoloDetector):
        detector = dataclasses.replace(
            found.detector, threshold=detect.floor, side=detect.network, batch=max(1, detect.batch)
        )
        found = dataclasses.replace(found, detector=detector)
    clip_like = isinstance(found.embedder, TextEmbedder)
    match = matching.Match(least=0.5, same=0.75, spread=0.15) if clip_like else matching.Match()
    return PerceivedTracker(found, detect=detect, match=match, alone=alone)
