"""Somebody else in the same place."""

from __future__ import annotations

import blobs
import numpy as np
import pytest

from alchemint_jax.annotate import follow, swaps
from alchemint_jax.annotate.settings import Detect, Presence, Track
from alchemint_jax.annotate.stages.detect import base_frames, detect, search
from alchemint_jax.annotate.stages.spans import spans
from alchemint_jax.annotate.stages.track import track
from alchemint_jax.annotate.tracks import Seen
from alchemint_jax.annotate.tracks import Track as Tracked
from alchemint_jax.perceive import Detections

FRAMES, SIZE = 40, (48, 80)
RED, YELLOW, DARK_RED = (220, 40, 40), (200, 200, 40), (205, 35, 35)
PLACE = slice(10, 26), slice(30, 46)


def film(*runs):
    """Things of these colours at one place, in these frames."""
    video = np.full((FRAMES, *SIZE, 3), 128, np.uint8)
    for color, start, end in runs:
        video[start:end, *PLACE] = color
    return video


class Dogs:
    """Takes everything that has a colour for a dog."""

    vocabulary = ("dog",)

    def detect(self, video, words):
        there = [np.ptp(frame[PLACE][0, 0].astype(int)) > 60 for frame in video]
        box, none = np.array([[30, 10, 46, 26]], np.float32), Detections.none()
        one = Detections(box, np.array([0.9], np.float32), np.array([0]))
        return [one if seen else none for seen in there]


class Colors:
    def embed(self, images):
        means = np.stack([image.reshape(-1, 3).mean(0) - 128 for image in images])
        return means / np.linalg.norm(means, axis=1, keepdims=True)


def followed(video, embedder=None):
    read = lambda numbers, side: [(f, video[f]) for f in sorted({*numbers})]  # noqa: E731
    row = {"fps": 10.0, "frames": FRAMES, "size": list(SIZE), "entities": [], "looked": ["dog"]}
    row["searched"] = base_frames(row, Detect())
    row["detections"] = list(search(read(row["searched"], 0), Dogs(), row, Detect()))
    return follow.follow(row, read, Dogs(), Detect(), Track(), embedder=embedder)


def runs(made):
    return [(track.first, track.last + 1) for track in made.tracks]


def test_who_stands_where_another_one_has_gone_is_another_one():
    made = followed(film((RED, 5, 16), (YELLOW, 19, 33)))
    assert runs(made) == [(5, 16), (19, 33)]
    assert 16 in made.missed[0] and 18 in made.missed[1]
    for crops, color in zip(made.crops, (RED, YELLOW), strict=True):
        assert crops and all(np.abs(one[8, 8] - np.int16(color)).max() < 9 for one in crops)
    assert [len(some) for some in made.views] == [len(some) for some in made.crops]


def test_who_was_lost_for_a_moment_is_the_same():
    assert runs(followed(film((RED, 5, 16), (DARK_RED, 19, 33)))) == [(5, 33)]


@pytest.mark.parametrize("turn", [16, 17, 18, 19])
def test_a_change_at_once_is_found_to_the_frame_where_an_embedder_looks(turn):
    video = film((RED, 5, turn), (YELLOW, turn, 33))
    assert runs(followed(video)) == [(5, 33)]
    made = followed(video, Colors())
    assert runs(made) == [(5, turn), (turn, 33)]
    assert turn in made.missed[0] and turn - 1 in made.missed[1]
    assert runs(followed(film((RED, 5, turn), (DARK_RED, turn, 33)), Colors())) == [(5, 33)]


@pytest.mark.parametrize(("second", "subjects"), [(YELLOW, 2), (DARK_RED, 1)])
def test_annotation_parts_those_who_change_at_once(tmp_path, second, subjects):
    video = film((RED, 5, 17), (second, 17, 33))
    row = {
        "source": blobs.write(tmp_path / "a.mp4", video).name,
        "start_frame": 0,
        "frames": FRAMES,
        "size": [*SIZE],
        "fps": 10.0,
        "entities": [],
        "dropped": [],
        "caption_from": "words",
    }
    row = detect(row, tmp_path, Dogs(), Detect())
    row = spans(track(row, tmp_path, Dogs(), Colors(), Detect(), Track()), Presence())
    frames = [subject["frames"] for subject in row["subjects"]]
    assert frames == ([[[5, 17]], [[17, 33]]] if subjects == 2 else [[[5, 33]]])


def test_three_one_after_another_are_three():
    video = film((RED, 2, 13), (YELLOW, 13, 25), (RED, 27, 39))
    assert runs(followed(video, Colors())) == [(2, 13), (13, 25), (27, 39)]


def test_an_embedder_that_finds_both_alike_has_a_say():
    class Same:
        def embed(self, images):
            return np.ones((len(images), 1))

    pictures = film()[0], film()[0]
    for colors, changes in ((0.0, [(15, 19)]), (0.3, [])):
        watch = swaps.Watch(Tracked([]), [], True)
        watch.doubts = [swaps.Doubt(15, 19, pictures, colors)]
        assert swaps.find([watch], Same()) == [changes]
        assert swaps.find([watch], None) == [[(15, 19)]]


def test_a_turn_is_where_most_frames_are_on_their_side():
    first, last = np.array([1.0, 0.0]), np.array([0.0, 1.0])
    assert swaps.turn(10, [first, last]) == 11
    assert swaps.turn(10, [first, first, first, last, last]) == 13
    assert swaps.turn(10, [first, first, (first + 2 * last) / 3, last]) == 12
    assert swaps.turn(10, [first, last, first, first, last]) == 14


def test_parts_keep_what_is_known_beside_them():
    seen = [Seen(f, np.array([0, 0, 9, 9.0]), 0.9, "dog") for f in (0, 2, 4, 8, 10, 12)]
    parts = list(swaps.part(Tracked(seen), [6, 14], [(6, 7), (11, 11)]))
    assert [[one.frame for one in track.seen] for track, _ in parts] == [
        [0, 2, 4, 5],
        [7, 8, 10],
        [11, 12],
    ]
    assert [gone for _, gone in parts] == [[6], [6, 11], [10, 14]]
