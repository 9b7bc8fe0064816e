"""Which of the things that were seen is which subject: by kind, word and identity. Pure functions.

Each subject gets the thing that it is, so that all together are most alike; then what is never on
screen together with that: it left and came back. Nothing is two subjects. Of a subject without a
reference everything of its word may be part, what the detector is surest of first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float
from scipy.optimize import linear_sum_assignment

from alchemint_jax.annotate import words
from alchemint_jax.annotate.tracks import Seen, inside

Real = float | int

_WORD = 0.3  # of its scores that a thing must have for a word to be named so
_ONE_PLACE = 0.5  # of the smaller one of two boxes that the other one covers
_KINDS = ("human", "animal", "vehicle")  # which detectors often take for another one of the kind


@dataclass(frozen=True)
class Match:
    """How alike a thing must be to the reference, as the inner product of unit vectors.

    Attributes:
        least: what is less alike is not the subject, though it is of its kind.
        same: what is less alike is another one of its kind; without a kind, nothing at all.
        sure: what the detector was never as sure of must be alike by `same`, too.
        spread: a subject that comes back is at most so much less alike than where it is most.
        strange: what likeness loses where the detector named another word of the kind.
        close: what is at most so much less alike may be the subject all the same, where the other
            one is found elsewhere.
    """

    least: Real = 0.2
    same: Real = 0.5
    sure: Real = 0.5
    spread: Real = 0.2
    strange: Real = 0.1
    close: Real = 0.1


def shares(seen: Sequence[Seen]) -> dict[str, float]:
    """What detections are named, with the share of their scores."""
    scores: dict[str, float] = {}
    for one in seen:
        scores[one.word] = scores.get(one.word, 0.0) + one.score
    total = sum(scores.values())
    return {word: score / total for word, score in scores.items()}


def fits(named: Mapping[str, float], word: str, least: float = _WORD) -> bool:
    """Whether what is named so is what a word means: it has such a share of the scores."""
    return named.get(word, 0.0) >= least


def may_fit(named: Mapping[str, float], word: str) -> bool:
    """Whether more detections may show that it is what a word means, or of its kind."""
    return fits(named, word, _WORD / 3) or resembles(named, word)


def resembles(named: Mapping[str, float], word: str) -> bool:
    """Whether it is mostly named something else of the same kind."""
    kind = words.kind_of(word)
    main = max(named, key=lambda name: (named[name], name))
    return kind in _KINDS and words.kind_of(main) == kind


@dataclass(frozen=True, eq=False)
class Candidate:
    """A thing that was seen.

    Attributes:
        words: what it was named, with the share of its scores.
        score: the best one of its detections.
        runs: half-open runs of frames in which it is followed.
        likeness: to the reference of each subject; NaN for one without any.
        boxes: where it is, in the frames in which it was detected.
    """

    words: Mapping[str, float]
    score: float
    runs: Sequence[tuple[int, int]]
    likeness: Float[np.ndarray, " r"]
    boxes: Mapping[int, np.ndarray] = field(default_factory=dict)

    def meets(self, other: Candidate) -> bool:
        """Whether both are on screen at one time, in different places: one thing is not.

        A detector that is not sure often sees one thing twice, a part of it and the whole.
        """
        return self._at_once(other) and not self.coincides(other)

    def coincides(self, other: Candidate) -> bool:
        """Whether both are in one place at one time, as far as boxes are known."""
        shared = [
            _covered(box, other.boxes[min(other.boxes, key=lambda f: (abs(f - frame), f))])
            for frame, box in self.boxes.items()
            if other.boxes and any(start <= frame < end for start, end in other.runs)
        ]
        return self._at_once(other) and bool(shared) and float(np.median(shared)) >= _ONE_PLACE

    def _at_once(self, other: Candidate) -> bool:
        return any(a < d and c < b for a, b in self.runs for c, d in other.runs)


def _covered(box: np.ndarray, other: np.ndarray) -> float:
    """The share of the smaller one of two boxes that the other one covers."""
    pair = box[None].astype(float), other[None].astype(float)
    return float(max(inside(*pair)[0, 0], inside(*pair[::-1])[0, 0]))


def assign(
    found: Sequence[Candidate], asked: Sequence[str | None], thing: str, match: Match
) -> list[list[int]]:
    """The things that each subject is, as indices in order of time.

    Args:
        found: what was seen.
        asked: the detector's word for each subject; None for one that it has no word for.
        thing: the word of those that have no word.
        match: what counts as alike.
    """
    alike = _alike(found, asked, thing, match)
    chosen: list[list[int]] = [[] for _ in asked]
    # First one thing for each: who is nearly as like another one is theirs, if that has nothing.
    near = np.isfinite(alike) & (alike >= alike.max(1, initial=-np.inf)[:, None] - match.close)
    rows, columns = linear_sum_assignment(np.where(near, alike, -1.0), maximize=True)
    for k, i in zip(rows, columns, strict=True):
        if near[k, i]:
            chosen[i].append(int(k))
    best = [max((alike[k, i] for k in some), default=-np.inf) for i, some in enumerate(chosen)]
    taken = {k for some in chosen for k in some}
    rest = [(alike[k, i], i, k) for k, i in np.argwhere(np.isfinite(alike)) if k not in taken]
    for likeness, i, k in sorted(rest, key=lambda pair: (-pair[0], pair[1], pair[2])):
        unknown = np.isnan(found[k].likeness[i])
        if k in taken or (likeness < best[i] - match.spread and not unknown):
            continue
        if found[k].score < match.sure and any(
            found[k].coincides(found[other])
            for j, some in enumerate(chosen)
            for other in some
            if j != i and asked[j] == asked[i]
        ):
            continue  # a doubtful part of another one is not this one
        if not any(found[k].meets(found[other]) for other in chosen[i]):
            chosen[i].append(int(k))
            best[i] = max(best[i], likeness)
            taken.add(k)
    return [sorted(some, key=lambda k: found[k].runs[0]) for some in chosen]


def _alike(
    found: Sequence[Candidate], asked: Sequence[str | None], thing: str, match: Match
) -> Float[np.ndarray, "n r"]:
    """How alike each thing is to each subject; minus infinity where it cannot be it."""
    alike = np.full((len(found), len(asked)), -np.inf)
    for k, one in enumerate(found):
        for i, word in enumerate(asked):
            likeness, least = float(one.likeness[i]), match.least
            if fits(one.words, thing) != (word is None):
                continue
            if np.isnan(likeness):  # nothing but its word says who it is
                if word is not None and fits(one.words, word) and one.score >= match.sure:
                    alike[k, i] = one.score
                continue
            if word is not None and not fits(one.words, word):
                if not may_fit(one.words, word):
                    continue
                likeness -= match.strange
                if not resembles(one.words, word):  # its name may be an accident
                    least = match.same
            if word is None or one.score < match.sure:
                least = match.same
            if likeness >= least:
                alike[k, i] = likeness
    return alike
