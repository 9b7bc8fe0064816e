"""Detections of a clip become tracks that are exact at their ends: for whoever has its frames.

`annotate` reads them from files, `evaluate` also from memory. A clip is a row with its `fps`,
`frames` and `size`, the words that are `looked` for, its `entities`, its `detections`, and the
frames that were `searched` for these.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from alchemint_jax.annotate import borders, ends, looks, swaps, words
from alchemint_jax.annotate import tracks as tracking
from alchemint_jax.annotate.rows import Row, clock_of
from alchemint_jax.annotate.settings import Detect
from alchemint_jax.annotate.settings import Track as Settings
from alchemint_jax.annotate.stages.detect import Frames, search
from alchemint_jax.annotate.tracks import Seen, Track
from alchemint_jax.perceive import Detector, Embedder

Read = Callable[[Iterable[int], int], Frames]
"""Frames by number, in order, scaled down to a longest side."""
RECENT = 0.7
"""Seconds that say how a track moves."""


@dataclass(frozen=True)
class Followed:
    """The tracks of a clip; the lists are parallel.

    Attributes:
        tracks: exact to the frame at their ends.
        missed: the frames beside each of them in which it was looked for and not seen.
        views: the frames of its pictures.
        crops: its pictures.
    """

    tracks: list[Track]
    missed: list[list[int]]
    views: list[list[int]]
    crops: list[list[np.ndarray]]


def follow(
    row: Row,
    read: Read,
    detector: Detector,
    detect: Detect,
    settings: Settings,
    wanted: Callable[[Track], bool] = lambda track: True,
    embedder: Embedder | None = None,
) -> Followed:
    """Tracks detections, and looks again where those tracks that are wanted begin and end.

    A track that goes on with somebody else is parted there; see `swaps`.
    """
    clock = clock_of(row)
    searched = row["searched"]
    found = tracking.associate(
        searched,
        [Seen.read(one) for one in row["detections"]],
        words.kind_of,
        start=settings.start,
        overlap=settings.overlap,
        patience=max(clock.count(settings.patience), 2 * _step(searched)),
    )
    if len(searched) > 1:
        shortest, area = clock.count(settings.shortest), row["size"][0] * row["size"][1]
        found = [track for track in found if solid(track, settings, shortest, area)]
    found = [track for track in tracking.without_parts(found, one_word) if wanted(track)]
    return _look_again(row, read, detector, detect, settings, found, searched, embedder)


def one_word(a: Track, b: Track) -> bool:
    """Whether two tracks are of one word."""
    return a.word() == b.word()


def one_kind(a: Track, b: Track) -> bool:
    """Whether two tracks are of one kind of thing."""
    names = [track.word() or track.seen[0].word for track in (a, b)]
    return words.kind_of(names[0]) == words.kind_of(names[1])


def _step(searched: Sequence[int]) -> int:
    return searched[1] - searched[0] if len(searched) > 1 else 1


def solid(track: Track, settings: Settings, shortest: int, area: int) -> bool:
    """Whether a track is more than noise: long enough, and sure once, or large and steady.

    Detectors are less sure of what fills the frame, but seldom take so much of it for something.

    Args:
        track: of a clip.
        settings: what is sure, large and steady.
        shortest: frames.
        area: of the frame, in pixels.
    """
    scores = [one.score for one in track.seen]
    if len(scores) < 2 or track.last - track.first < shortest:
        return False
    sides = np.stack([one.box[2:] - one.box[:2] for one in track.seen])
    large = float(np.median(sides.prod(1))) >= settings.large * area
    steady = large and float(np.mean(scores)) >= settings.steady
    return max(scores) >= settings.sure or steady


def _look_again(
    row: Row,
    read: Read,
    detector: Detector,
    detect: Detect,
    settings: Settings,
    found: list[Track],
    searched: Sequence[int],
    embedder: Embedder | None,
) -> Followed:
    """One more pass over a few frames: ends of tracks, pictures of them, and whether they swap."""
    size = tuple(row["size"])
    edges = ends.find(found, searched)
    views = [view_frames(track.seen, settings.views) for track in found]
    watches = [swaps.Watch(track, searched, embedder is not None) for track in found]
    near = {frame for end in edges for frame in end.between}
    frames = near.union(*views, *(watch.frames for watch in watches))
    crops: list[list[np.ndarray]] = [[] for _ in found]

    def passing() -> Iterator[tuple[int, np.ndarray]]:
        for number, frame in read(frames, detect.side):
            for i, some in enumerate(views):
                watches[i].look(number, frame, lambda image, box: crop(image, box, size))
                if number in some:
                    box = next(one.box for one in found[i].seen if one.frame == number)
                    crops[i].append(crop(frame, box, size).copy())  # not all of the frame
            if number in near:
                yield number, frame

    def look(some: Frames) -> Iterator[Seen]:
        return (Seen.read(one) for one in search(some, detector, row, detect))

    refined, missed = ends.refine(
        found, edges, searched, passing(), look, words.kind_of, settings.overlap
    )
    made = Followed(refined, missed, views, crops)
    changes = swaps.find(watches, embedder)
    if any(changes):
        made = _parted(row, read, detect, settings, made, changes, searched)
    _prolong(row, read, detect, made.tracks, made.missed, clock_of(row).count(settings.border))
    return made


def _parted(
    row: Row,
    read: Read,
    detect: Detect,
    settings: Settings,
    made: Followed,
    changes: Sequence[Sequence[tuple[int, int]]],
    searched: Sequence[int],
) -> Followed:
    """The tracks, but those that change are parted between these frames."""
    runs = _changes(row, read, detect, made, changes, searched)
    tracks: list[Track] = []
    missed: list[list[int]] = []
    views: list[list[int]] = []
    crops: list[list[np.ndarray]] = []
    for i, some in enumerate(runs):
        parts = list(swaps.part(made.tracks[i], made.missed[i], some))
        tracks += [track for track, _ in parts]
        missed += [gone for _, gone in parts]
        if some:
            views += [view_frames(track.seen, settings.views) for track, _ in parts]
            crops += [[] for _ in parts]
        else:
            views.append(made.views[i])
            crops.append(made.crops[i])
    fresh = [i for i, some in enumerate(crops) if not some]
    for number, frame in read({f for i in fresh for f in views[i]}, detect.side):
        for i in fresh:
            crops[i] += [
                crop(frame, one.box, row["size"]).copy()
                for one in tracks[i].seen
                if one.frame == number and number in views[i]
            ]
    return Followed(tracks, missed, views, crops)


def _changes(
    row: Row,
    read: Read,
    detect: Detect,
    made: Followed,
    changes: Sequence[Sequence[tuple[int, int]]],
    searched: Sequence[int],
) -> list[list[tuple[int, int]]]:
    """For each change of each track, the first frame without the one, and with the other."""
    runs: list[list[tuple[int, int]]] = [[] for _ in changes]
    for i, (track, missed, pairs) in enumerate(zip(made.tracks, made.missed, changes, strict=True)):
        for before, after in pairs:
            if gone := swaps.lost(track, missed, searched, before, after):
                runs[i].append((gone[0], gone[-1] + 1))
                continue
            boxes = swaps.between(track, before, after)
            frames = read(boxes, detect.side)
            colors = [looks.color_vector(crop(f, boxes[n], row["size"])) for n, f in frames]
            runs[i].append((swaps.turn(before, colors),) * 2)
    return runs


def _prolong(
    row: Row,
    read: Read,
    detect: Detect,
    found: list[Track],
    missed: list[list[int]],
    most: int,
) -> None:
    """Adds the frames in which subjects leave or enter, cut off by the border."""
    size = (row["size"][0], row["size"][1])
    recent = max(3, clock_of(row).count(RECENT))
    ways = [
        (i, way)
        for i, track in enumerate(found)
        for step in (-1, 1)
        if (way := borders.find_exit(track.seen, size, step, most, recent)) is not None
    ]
    wanted = {f for _, way in ways for f in way.frames(row["frames"])}
    strips: list[dict[int, np.ndarray]] = [{} for _ in ways]
    for number, frame in read(wanted, detect.side):
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
        boxes = way.boxes(end.box, last, row["frames"], size)
        more = [Seen(f, box, end.score, end.word) for f, box in boxes.items()]
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


def picture_vectors(embedder: Embedder, crops: Sequence[Sequence[np.ndarray]]) -> list[np.ndarray]:
    """The vectors of each track's pictures."""
    flat = [image for some in crops for image in some]
    if not flat:
        return [np.zeros((0, 1)) for _ in crops]
    vectors = np.asarray(embedder.embed(flat), np.float64)
    return np.split(vectors, np.cumsum([len(some) for some in crops])[:-1])


def mean_vectors(vectors: Sequence[np.ndarray]) -> np.ndarray:
    """The mean of each group of vectors, of length 1."""
    return unit(np.stack([some.mean(0) for some in vectors])) if vectors else np.zeros((0, 1))


def unit(vectors: np.ndarray) -> np.ndarray:
    """Vectors [n d] of length 1."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-9)


def sightings(
    row: Row, pieces: Sequence[Track], missed: Sequence[Sequence[int]]
) -> tuple[list[Seen], list[int]]:
    """All detections of the tracks of one subject, and the frames that it was missed in."""
    seen = sorted((one for piece in pieces for one in piece.seen), key=lambda one: one.frame)
    frames = {one.frame for one in seen}
    near = [f for f in row["searched"] if f not in frames and _matters(f, frames)]
    return seen, sorted({f for some in missed for f in some} | {*near})


def _matters(frame: int, frames: set[int]) -> bool:
    """Whether not being seen there says anything that its neighbours do not: near what was seen."""
    return any(abs(frame - f) <= 64 for f in frames)
