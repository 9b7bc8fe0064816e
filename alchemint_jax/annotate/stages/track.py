"""Detections become subjects: tracked, refined at their ends, and recognised when they return."""

from __future__ import annotations

import base64
import functools
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from alchemint_jax.annotate import follow as following
from alchemint_jax.annotate import looks, naming, words
from alchemint_jax.annotate import tracks as tracking
from alchemint_jax.annotate.rows import Row, clock_of, rounded
from alchemint_jax.annotate.settings import Detect, Track
from alchemint_jax.annotate.stages.detect import scene_frames
from alchemint_jax.annotate.tracks import Seen
from alchemint_jax.perceive import Detector, Embedder, TextEmbedder

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
    made = following.follow(row, read, detector, detect, settings, embedder=embedder)
    found = made.tracks
    seen = following.picture_vectors(embedder, made.crops)
    vectors = following.mean_vectors(_with_colors(seen, made.crops, settings.colors))
    near = tracking.continued(found, clock.count(settings.soon), row["size"])
    alike = vectors @ vectors.T + settings.near * near
    groups = tracking.identities(found, alike, settings.alike, following.one_kind)
    groups.sort(key=lambda g: (found[g[0]].first, g))
    every = []
    for group in groups:
        pieces = [found[i] for i in group]
        times, missed = following.sightings(row, pieces, [made.missed[i] for i in group])
        subject = _subject(row, times, vectors[group])
        every.append(subject | {"missed": missed, "pieces": len(pieces)})
    if row["caption_from"] != "words":
        texts = embedder.embed_texts if isinstance(embedder, TextEmbedder) else None
        plain = following.mean_vectors([np.concatenate([seen[i] for i in g]) for g in groups])
        every = naming.name_subjects(every, row["entities"], plain, texts)
        # As the caption names them: some models tell by its place which subject a word means.
        order = words.in_order((entity["word"] for entity in row["entities"]), row["caption"])
        places = {word: place for place, word in enumerate(order)}
        every.sort(key=lambda one: places.get(one["word"], len(places)))
    subjects = [one for one in every if one["reason"] is None]
    others = [one for one in every if one["reason"] is not None]
    lost = [{"word": one["word"], "reason": one["reason"]} for one in others]
    lost += [
        {"word": entity["word"], "reason": "was not found"}
        for entity in row["entities"]
        if not any(entity["word"] == subject["word"] for subject in subjects)
        and not any(entity["word"] == one["word"] for one in lost)
    ]
    subjects = [{"track": i, **_without(subject, "reason")} for i, subject in enumerate(subjects)]
    others = [_without(one, "reason", "vector") for one in others]
    result = {**_without(row, "detections", "searched"), "subjects": subjects, "others": others}
    return {**result, "dropped": row["dropped"] + _once(lost)}


def _without(row: Row, *names: str) -> Row:
    return {key: value for key, value in row.items() if key not in names}


def _with_colors(
    vectors: Sequence[np.ndarray], crops: Sequence[Sequence[np.ndarray]], weight: float | int
) -> list[np.ndarray]:
    return [looks.joined(v, some, weight) for v, some in zip(vectors, crops, strict=True)]


def pack_vector(vector: np.ndarray) -> str:
    """A vector as text: base64 of 16-bit floats."""
    return base64.b64encode(vector.astype(_HALVES).tobytes()).decode()


def read_vector(text: str) -> np.ndarray:
    """What `pack_vector` has written."""
    return np.frombuffer(base64.b64decode(text), _HALVES).astype(np.float64)


def _subject(row: Row, seen: list[Seen], vectors: np.ndarray) -> Row:
    """One subject: its detections, and what the detector takes it for."""
    whole = tracking.Track(seen)
    asks = {entity["ask"] for entity in row["entities"]}
    asked = whole.word(asks.__contains__) if row["caption_from"] != "words" else None
    plain = whole.word() or seen[0].word
    return {
        "word": plain,
        "category": plain,
        "named_by": naming.DETECTOR,
        "reason": None,
        "kind": words.kind_of(asked or plain),
        "asked": asked,
        "detected_as": plain,
        "seen": [[one.frame, *rounded(one.box), round(one.score, 3)] for one in seen],
        "vector": pack_vector(following.mean_vectors([vectors])[0]),
    }


def _once(lost: Sequence[Row]) -> list[Row]:
    """The same word and reason once, however many tracks it is about."""
    found: dict[tuple[str, str], Row] = {}
    for one in lost:
        found.setdefault((one["word"], one["reason"]), one)
    return list(found.values())
