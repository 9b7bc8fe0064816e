"""Detections become subjects: tracked, refined at their ends, and recognised when they return."""

from __future__ import annotations

import base64
import functools
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from alchemint_jax.annotate import follow as following
from alchemint_jax.annotate import tracks as tracking
from alchemint_jax.annotate import words
from alchemint_jax.annotate.rows import Row, clock_of, rounded
from alchemint_jax.annotate.settings import Detect, Track
from alchemint_jax.annotate.stages.detect import scene_frames
from alchemint_jax.annotate.tracks import Seen
from alchemint_jax.perceive import Detector, Embedder

_HALVES = np.float16


def track(
    row: Row,
    base: Path,
    detector: Detector,
    embedder: Embedder,
    detect: Detect,
    settings: Track,
) -> Row:
    """Who is in a scene: detections of each subject, and what was found but is none."""
    clock = clock_of(row)
    read = functools.partial(scene_frames, row, base)
    made = following.follow(row, read, detector, detect, settings)
    found = made.tracks
    vectors = following.mean_vectors(embedder, made.crops)
    near = tracking.continued(found, clock.count(settings.soon))
    alike = vectors @ vectors.T + settings.near * near
    groups = tracking.identities(found, alike, settings.alike, following.one_kind)
    subjects, lost = [], []
    for group in sorted(groups, key=lambda g: (found[g[0]].first, g)):
        pieces = [found[i] for i in group]
        seen, missed = following.sightings(row, detect, pieces, [made.missed[i] for i in group])
        subject = _subject(row, seen, vectors[group])
        subject |= {"missed": missed, "pieces": len(pieces)}
        if (reason := subject.pop("reason")) is None:
            subjects.append(subject)
        else:
            lost.append({"word": subject["word"], "reason": reason})
    lost += [
        {"word": entity["word"], "reason": "was not found"}
        for entity in row["entities"]
        if not any(entity["word"] == subject["word"] for subject in subjects)
        and not any(entity["word"] == one["word"] for one in lost)
    ]
    subjects = [{"track": i, **subject} for i, subject in enumerate(subjects)]
    rest = {key: value for key, value in row.items() if key != "detections"}
    return {**rest, "subjects": subjects, "dropped": row["dropped"] + _once(lost)}


def pack_vector(vector: np.ndarray) -> str:
    """A vector as text: base64 of 16-bit floats."""
    return base64.b64encode(vector.astype(_HALVES).tobytes()).decode()


def read_vector(text: str) -> np.ndarray:
    """What `pack_vector` has written."""
    return np.frombuffer(base64.b64decode(text), _HALVES).astype(np.float64)


def _subject(row: Row, seen: list[Seen], vectors: np.ndarray) -> Row:
    """One subject: its detections, and the word of the caption that means it."""
    whole = tracking.Track(seen)
    asks = {
        entity["ask"]: [e for e in row["entities"] if e["ask"] == entity["ask"]]
        for entity in row["entities"]
    }
    named = row["caption_from"] != "words"
    allowed: Callable[[str], bool] = asks.__contains__ if named else lambda word: True
    asked = whole.word(allowed)
    plain = whole.word() or seen[0].word
    word, category, reason = plain, plain, None
    if named and asked is None:
        reason = "was seen, but the caption has no word for it that is a subject"
    elif named and asked is not None:
        word, category = asks[asked][0]["word"], asks[asked][0]["category"]
        if len(asks[asked]) > 1:
            both = " and ".join(entity["word"] for entity in asks[asked])
            word, reason = asked, f"the detector cannot tell {both} apart"
    vector = vectors.mean(0)
    return {
        "word": word,
        "category": category,
        "kind": words.kind_of(asked or plain),
        "detected_as": plain,
        "seen": [[one.frame, *rounded(one.box), round(one.score, 3)] for one in seen],
        "vector": pack_vector(vector / max(float(np.linalg.norm(vector)), 1e-9)),
        "reason": reason,
    }


def _once(lost: Sequence[Row]) -> list[Row]:
    """The same word and reason once, however many tracks it is about."""
    found: dict[tuple[str, str], Row] = {}
    for one in lost:
        found.setdefault((one["word"], one["reason"]), one)
    return list(found.values())
