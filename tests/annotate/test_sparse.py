"""Frames between two that show the same are left out."""

from __future__ import annotations

import blobs
import numpy as np
import pytest

from alchemint_jax.annotate import sparse
from alchemint_jax.annotate.settings import Detect
from alchemint_jax.annotate.stages.detect import detect


def found(frame, left=0.0, score=0.9, word="dog"):
    return [frame, left, 0.0, left + 10, 10.0, score, word]


@pytest.mark.parametrize(
    ("other", "same"),
    [
        ([found(2)], True),
        ([found(2, left=3)], True),  # 7 of 13
        ([found(2, left=4)], False),  # 6 of 14
        ([found(2, word="cat")], False),
        ([found(2), found(2, left=40)], False),
        ([found(2), found(2, left=40, score=0.1)], True),
        ([found(2, score=0.1)], True),
        ([], False),
    ],
)
def test_frames_show_the_same_where_all_that_is_sure_is_in_both(other, same):
    assert sparse.show_the_same([found(0)], other) is same
    assert sparse.show_the_same(other, [found(0)]) is same


def searched(there, together):
    """The frames that are searched where `there` says which of them show a dog."""
    calls = []

    def look(frames):
        calls.append([number for number, _ in frames])
        return [found(number) for number, image in frames if image[0]]

    frames = [(10 * i, np.array([seen])) for i, seen in enumerate(there)]
    rows, numbers = sparse.search_changes(iter(frames), look, together)
    assert sorted(n for call in calls for n in call) == numbers  # each at most once
    assert max(map(len, calls)) <= together + 1
    assert [row[0] for row in rows] == [
        10 * i for i, seen in enumerate(there) if seen and 10 * i in numbers
    ]
    return [number // 10 for number in numbers]


@pytest.mark.parametrize("together", [1, 2, 4, 16])
def test_only_where_something_changes_all_are_searched(together):
    assert searched([0] * 9, together) == [0, 2, 4, 6, 8]
    assert searched([0] * 10, together) == [0, 2, 4, 6, 8, 9]
    assert searched([1] * 3, together) == [0, 2]
    assert searched([0, 0, 0, 1, 1, 1, 1, 1, 1], together) == [0, 2, 3, 4, 6, 8]
    assert searched([1, 1, 0, 0, 1, 1, 0], together) == [0, 1, 2, 3, 4, 5, 6]
    assert searched([1], together) == [0]
    assert searched([], together) == []


@pytest.mark.parametrize(("fps", "skips"), [(10.0, True), (30.0, True), (8.0, False), (2.0, False)])
def test_frames_that_lie_far_apart_are_all_searched(tmp_path, fps, skips):
    """Who is gone for one of two frames would otherwise be there."""
    video = blobs.draw(40, [("dog", blobs.still(40, [(0, 21)]))])
    row = {
        "source": blobs.write(tmp_path / "a.mp4", video, fps).name,
        "start_frame": 0,
        "frames": 40,
        "size": [blobs.HEIGHT, blobs.WIDTH],
        "fps": fps,
        "entities": [],
        "dropped": [],
        "caption_from": "words",
    }
    calls = []
    seen = detect(row, tmp_path, blobs.BlobDetector(calls=calls), Detect())
    every = detect(row, tmp_path, blobs.BlobDetector(), Detect(skip=0))
    assert sum(calls) == len(seen["searched"])
    assert (len(seen["searched"]) < 0.8 * len(every["searched"])) == skips
    last = [max(one[0] for one in some["detections"]) for some in (seen, every)]
    assert last[0] == last[1]  # both sides of a change are searched
