"""Detections become subjects: tracked, refined at their ends, and recognised when they return."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from alchemint_jax.annotate import borders, looks, naming, words
from alchemint_jax.annotate import tracks as tracking
from alchemint_jax.annotate.rows import Row, clock_of, rounded
from alchemint_jax.annotate.settings import Detect, Track
from alchemint_jax.annotate.stages.detect import base_frames, scene_frames, search
from alchemint_jax.annotate.tracks import Seen
from alchemint_jax.perceive import Detector, Embedder, TextEmbedder

_HALVES = np.float16
_RECENT = 0.7  # seconds that say how a track moves


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
    searched = base_frames(row, detect)
    found = tracking.associate(
        searched,
        [Seen.read(one) for one in row["detections"]],
        words.kind_of,
        start=settings.start,
        overlap=settings.overlap,
        patience=max(clock.count(settings.patience), 2 * _step(searched)),
    )
    found = [t for t in found if _solid(t, settings, clock.count(settings.shortest))]
    found = tracking.without_parts(found, _one_word)
    found, missed, crops = _look_again(
        row, base, detector, detect, settings, found, searched, clock.count(settings.border)
    )
    seen = _vectors(embedder, crops)
    vectors = _means(_with_colors(seen, crops, settings.colors))
    near = tracking.continued(found, clock.count(settings.soon), row["size"])
    alike = vectors @ vectors.T + settings.near * near
    groups = tracking.identities(found, alike, settings.alike, _one_kind)
    groups.sort(key=lambda g: (found[g[0]].first, g))
    every = []
    for group in groups:
        subject = _subject(row, [found[i] for i in group], vectors[group], searched)
        subject["missed"] = sorted({f for i in group for f in missed[i]} | {*subject["missed"]})
        every.append(subject)
    if row["caption_from"] != "words":
        texts = embedder.embed_texts if isinstance(embedder, TextEmbedder) else None
        plain = _means([np.concatenate([seen[i] for i in group]) for group in groups])
        every = naming.name_subjects(every, row["entities"], plain, texts)
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
    made = {**_without(row, "detections"), "subjects": subjects, "others": others}
    return {**made, "dropped": row["dropped"] + _once(lost)}


def _without(row: Row, *names: str) -> Row:
    return {key: value for key, value in row.items() if key not in names}


def _step(searched: Sequence[int]) -> int:
    return searched[1] - searched[0] if len(searched) > 1 else 1


def _solid(track: tracking.Track, settings: Track, shortest: int) -> bool:
    """Whether it is more than noise."""
    scores = [one.score for one in track.seen]
    return len(scores) > 1 and track.last - track.first >= shortest and max(scores) >= settings.sure


def _one_word(a: tracking.Track, b: tracking.Track) -> bool:
    return a.word() == b.word()


def _one_kind(a: tracking.Track, b: tracking.Track) -> bool:
    names = [track.word() or track.seen[0].word for track in (a, b)]
    return words.kind_of(names[0]) == words.kind_of(names[1])


def _look_again(
    row: Row,
    base: Path,
    detector: Detector,
    detect: Detect,
    settings: Track,
    found: list[tracking.Track],
    searched: Sequence[int],
    most: int,
) -> tuple[list[tracking.Track], list[list[int]], list[list[np.ndarray]]]:
    """One more pass over a few frames: ends of tracks, and pictures of them.

    Returns:
        The tracks to the frame; for each of them the frames in which it was looked for and not
        seen, and pictures.
    """
    size = tuple(row["size"])
    beside = [tracking.beside(track, searched) for track in found]
    views = [view_frames(track.seen, settings.views) for track in found]
    near = {*(f for some in beside for f in some)}
    frames = {f: None for f in near} | {f: None for some in views for f in some}
    crops: list[list[np.ndarray]] = [[] for _ in found]

    def passing() -> Iterator[tuple[int, np.ndarray]]:
        for number, frame in scene_frames(row, base, frames, detect.side):
            for i, some in enumerate(views):
                if number in some:
                    box = next(one.box for one in found[i].seen if one.frame == number)
                    crops[i].append(crop(frame, box, size).copy())  # not all of the frame
            if number in near:
                yield number, frame

    again = [Seen.read(one) for one in search(passing(), detector, row, detect)]
    refined, missed = [], []
    for track, some in zip(found, beside, strict=True):
        here: dict[int, list[Seen]] = {}
        for one in again:
            if one.frame in some:
                here.setdefault(one.frame, []).append(one)
        better = tracking.refine(track, here, settings.overlap)
        refined.append(better)
        seen = {one.frame for one in better.seen}
        missed.append([f for f in some if f not in seen])
    _prolong(row, base, detect, refined, missed, most)
    return refined, missed, crops


def _prolong(
    row: Row,
    base: Path,
    detect: Detect,
    found: list[tracking.Track],
    missed: list[list[int]],
    most: int,
) -> None:
    """Adds the frames in which subjects leave or enter, cut off by the border."""
    size = (row["size"][0], row["size"][1])
    recent = max(3, clock_of(row).count(_RECENT))
    ways = [
        (i, way)
        for i, track in enumerate(found)
        for step in (-1, 1)
        if (way := borders.find_exit(track.seen, size, step, most, recent)) is not None
    ]
    wanted = {f for _, way in ways for f in way.frames(row["frames"])}
    strips: list[dict[int, np.ndarray]] = [{} for _ in ways]
    for number, frame in scene_frames(row, base, wanted, detect.side):
        scale = frame.shape[1] / size[1]
        for (_, way), some in zip(ways, strips, strict=True):
            if number in way.frames(row["frames"]):
                left, top, right, bottom = (round(x * scale) for x in way.strip)
                strip = frame[top : max(bottom, top + 1), left : max(right, left + 1)]
                some[number] = strip.copy()
    for (i, way), some in zip(ways, strips, strict=True):
        order = [some[f] for f in way.frames(row["frames"])]
        last = borders.last_frame(way, order, max(1, most // 5))
        end = found[i].seen[-1 if way.step > 0 else 0]
        more = [
            Seen(f, end.box, end.score, end.word)
            for f in range(way.frame + way.step, last + way.step, way.step)
        ]
        found[i].seen = sorted(found[i].seen + more, key=lambda one: one.frame)
        there = {one.frame for one in more}
        missed[i] = [f for f in missed[i] if f not in there]


def view_frames(seen: Sequence[Seen], count: int) -> list[int]:
    """Frames of a track that show it best, spread over its time: the surest of each part."""
    parts = np.array_split(np.arange(len(seen)), min(count, len(seen)))
    return [
        max((seen[i] for i in part), key=lambda one: (one.score, -one.frame)).frame
        for part in parts
    ]


def crop(frame: np.ndarray, box: np.ndarray, size: Sequence[int], margin: float | int = 0.0) -> Any:
    """What is in a box, which is in pixels of a frame of another size (height, width)."""
    height, width = frame.shape[:2]
    scale = np.array([width / size[1], height / size[0]] * 2)
    left, top, right, bottom = tracking.enlarged(box[None], margin)[0] * scale
    x0, y0 = int(np.clip(np.floor(left), 0, width - 1)), int(np.clip(np.floor(top), 0, height - 1))
    x1, y1 = (
        int(np.clip(np.ceil(right), x0 + 1, width)),
        int(np.clip(np.ceil(bottom), y0 + 1, height)),
    )
    return frame[y0:y1, x0:x1]


def _vectors(embedder: Embedder, crops: Sequence[Sequence[np.ndarray]]) -> list[np.ndarray]:
    """The vectors of each track's pictures."""
    flat = [image for some in crops for image in some]
    if not flat:
        return [np.zeros((0, 1)) for _ in crops]
    vectors = np.asarray(embedder.embed(flat), np.float64)
    return np.split(vectors, np.cumsum([len(some) for some in crops])[:-1])


def _with_colors(
    vectors: Sequence[np.ndarray], crops: Sequence[Sequence[np.ndarray]], weight: float | int
) -> list[np.ndarray]:
    return [looks.joined(v, some, weight) for v, some in zip(vectors, crops, strict=True)]


def _means(vectors: Sequence[np.ndarray]) -> np.ndarray:
    """The mean of each group of vectors, of length 1."""
    if not vectors:
        return np.zeros((0, 1))
    means = np.stack([some.mean(0) for some in vectors])
    return means / np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-9)


def pack_vector(vector: np.ndarray) -> str:
    """A vector as text: base64 of 16-bit floats."""
    return base64.b64encode(vector.astype(_HALVES).tobytes()).decode()


def read_vector(text: str) -> np.ndarray:
    """What `pack_vector` has written."""
    return np.frombuffer(base64.b64decode(text), _HALVES).astype(np.float64)


def _subject(
    row: Row, pieces: Sequence[tracking.Track], vectors: np.ndarray, searched: Sequence[int]
) -> Row:
    """One subject: its tracks, and what the detector takes it for."""
    seen = sorted((one for piece in pieces for one in piece.seen), key=lambda one: one.frame)
    whole = tracking.Track(seen)
    asks = {entity["ask"] for entity in row["entities"]}
    asked = whole.word(asks.__contains__) if row["caption_from"] != "words" else None
    plain = whole.word() or seen[0].word
    frames = {one.frame for one in seen}
    return {
        "word": plain,
        "category": plain,
        "named_by": naming.DETECTOR,
        "reason": None,
        "kind": words.kind_of(asked or plain),
        "asked": asked,
        "detected_as": plain,
        "seen": [[one.frame, *rounded(one.box), round(one.score, 3)] for one in seen],
        "missed": [f for f in searched if f not in frames and _matters(f, frames)],
        "pieces": len(pieces),
        "vector": pack_vector(_means([vectors])[0]),
    }


def _matters(frame: int, frames: set[int]) -> bool:
    """Whether not being seen there says anything that its neighbours do not: near what was seen."""
    return any(abs(frame - f) <= 64 for f in frames)


def _once(lost: Sequence[Row]) -> list[Row]:
    """The same word and reason once, however many tracks it is about."""
    found: dict[tuple[str, str], Row] = {}
    for one in lost:
        found.setdefault((one["word"], one["reason"]), one)
    return list(found.values())
