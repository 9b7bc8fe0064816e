"""Frames are searched: every few of a scene, for the words of its caption or all there are."""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from alchemint_jax.annotate import sparse, timeline, words
from alchemint_jax.annotate.rows import Row, clock_of, rounded
from alchemint_jax.annotate.settings import Detect
from alchemint_jax.perceive import Detections, Detector
from alchemint_jax.perceive.boxes import overlaps

Frames = Iterable[tuple[int, np.ndarray]]


def vocabulary(detector: Detector) -> tuple[str, ...] | None:
    """The words that a detector knows; None where it takes any."""
    found = getattr(detector, "vocabulary", None)
    return None if found is None else tuple(found)


def asked(row: Row, known: Sequence[str] | None) -> tuple[list[Row], list[Row]]:
    """The entities of a row that a detector can be asked for, each with its word for them.

    The others come second, as what is dropped.
    """
    found, lost = [], []
    for entity in row["entities"]:
        word = entity["word"]
        if known is None:
            found.append({**entity, "ask": word})
            continue
        fits = [
            w
            for w in (word, word.split()[-1], entity["category"], entity["detector"])
            if w in known
        ]
        if fits:
            found.append({**entity, "ask": fits[0]})
        else:
            lost.append({"word": word, "reason": "is unknown to the detector"})
    return found, lost


def base_frames(row: Row, settings: Detect) -> list[int]:
    """The frames that are searched first: every few, and the last one."""
    return sorted({*range(0, row["frames"], _step(row, settings)), row["frames"] - 1})


def _step(row: Row, settings: Detect) -> int:
    return max(1, clock_of(row).count(settings.every))


def scene_frames(row: Row, base: Path, numbers: Iterable[int], side: int = 0) -> Frames:
    """Frames of a scene by their number in it; see `timeline.frames`."""
    start = row["start_frame"]
    for number, frame in timeline.frames(base / row["source"], (start + n for n in numbers), side):
        yield number - start, frame


def detect(row: Row, base: Path, detector: Detector, settings: Detect) -> Row:
    """What is found in every few frames: rows of frame, box, score and word.

    `searched` are these frames.

    A scene without a caption is searched for all that the detector knows; for the kinds of COCO,
    where that is any word.
    """
    known = vocabulary(detector)
    entities, lost = asked(row, known)
    every = list(known) if known is not None else sorted(words.kinds())
    if row["caption_from"] == "words":
        looked = every
    elif known is None or not entities:
        looked = list(dict.fromkeys(entity["ask"] for entity in entities))
    else:  # what passes for something else now and then is still tracked
        looked = every
    made = {**row, "entities": entities, "dropped": row["dropped"] + lost, "looked": looked}
    numbers = base_frames(row, settings)
    frames = scene_frames(row, base, numbers, settings.side)
    look = functools.partial(search, detector=detector, row=made, settings=settings)
    if 2 * _step(row, settings) <= clock_of(row).count(settings.skip):
        found, numbers = sparse.search_changes(frames, look, max(1, settings.batch))
    else:
        found = list(look(frames))
    return {**made, "detections": found, "searched": numbers}


def search(
    frames: Frames,
    detector: Detector,
    row: Row,
    settings: Detect,
) -> Iterator[list[Any]]:
    """[frame, left, top, right, bottom, score, word] of what is found, in pixels of the video.

    Args:
        frames: of the scene, at any size.
        detector: who looks.
        row: of the scene; `looked` are the words that are looked for.
        settings: how.
    """
    looked, size = row["looked"], row["size"]
    asked_for = {entity["ask"] for entity in row["entities"]}
    if not looked:
        return
    batch: list[tuple[int, np.ndarray]] = []

    def flush() -> Iterator[list[Any]]:
        video = np.stack([frame for _, frame in batch])
        scale = np.array([size[1] / video.shape[2], size[0] / video.shape[1]] * 2)
        for (number, _), one in zip(batch, detector.detect(video, looked), strict=True):
            for i, word in _distinct(one, looked, asked_for, settings):
                box = rounded(one.boxes[i] * scale)
                yield [number, *box, round(float(one.scores[i]), 3), word]
        batch.clear()

    for pair in frames:
        batch.append(pair)
        if len(batch) == max(1, settings.batch):
            yield from flush()
    if batch:
        yield from flush()


def _distinct(
    found: Detections, looked: Sequence[str], asked_for: Collection[str], settings: Detect
) -> list[tuple[int, str]]:
    """What is kept, with its word: sure enough, and no second name of what a surer one shows.

    Of the names of one thing, that which the caption has is its word, even if it is less sure.
    """
    kept: list[int] = []
    name: dict[int, str] = {}
    for i in map(int, np.argsort(-found.scores, kind="stable")):
        if found.scores[i] < settings.floor:
            break
        word = looked[int(found.words[i])]
        fits = overlaps(found.boxes[i : i + 1], found.boxes[kept])[0] if kept else np.zeros(0)
        if len(fits) and fits.max() > settings.clash:
            first = kept[int(fits.argmax())]
            if word in asked_for and name[first] not in asked_for:
                name[first] = word
        else:
            kept.append(i)
            name[i] = word
    return [(i, name[i]) for i in sorted(kept)]
