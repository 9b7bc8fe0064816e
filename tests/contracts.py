"""What every back end of `perceive` must do, whatever it runs on: checks that take an instance.

A test of a back end calls its check with a video that it understands. Each of them raises
AssertionError where the back end breaks its protocol.
"""

from __future__ import annotations

import numpy as np


def check_detector(detector, video, words):
    """`video` should show some of the words, which are told apart by their order alone."""
    height, width = video.shape[1:3]
    found = detector.detect(video, words)
    assert len(found) == len(video)
    for frame in found:
        assert frame.boxes.dtype == np.float32 and frame.boxes.shape == (len(frame.scores), 4)
        left, top, right, bottom = frame.boxes.T
        assert (left >= 0).all() and (top >= 0).all() and (left < right).all()
        assert (right <= width).all() and (bottom <= height).all() and (top < bottom).all()
        assert ((frame.scores >= 0) & (frame.scores <= 1)).all()
        assert (
            frame.words.shape == frame.scores.shape
            and np.isin(frame.words, range(len(words))).all()
        )
    assert any(len(frame.scores) for frame in found), "nothing was found"
    _same(detector.detect(video[::-1], words)[::-1], found)  # frames are looked at by themselves
    reverse = detector.detect(video, words[::-1])
    _same(reverse, found, words=lambda index: len(words) - 1 - index)
    unknown = [[]] if detector.vocabulary is None else [[], ["no such word"]]
    for none in unknown:
        assert all(len(frame.scores) == 0 for frame in detector.detect(video, none))
    assert len(detector.detect(video[:0], words)) == 0


def _same(found, expected, words=lambda index: index):
    """The order of detections says nothing, so each is looked for among those that are left."""
    for a, b in zip(found, expected, strict=True):
        assert len(a.scores) == len(b.scores)
        left = np.ones(len(b.scores), bool)
        for box, score, word in zip(a.boxes, a.scores, words(a.words), strict=True):
            near = np.isclose(b.boxes, box, atol=1e-2).all(1) & np.isclose(
                b.scores, score, atol=1e-3
            )
            near &= left & (b.words == word)
            assert near.any(), "something else was found"
            left[near.argmax()] = False


def check_segmenter(segmenter, video, boxes):
    """The subject should be in the boxes, which are known in some frames."""
    given = boxes.copy()
    masks = segmenter.segment(video, boxes)
    assert masks.shape == video.shape[:3] and masks.dtype == np.bool_
    assert np.array_equal(boxes, given, equal_nan=True), "the boxes were written to"
    rows, columns = np.mgrid[: video.shape[1], : video.shape[2]] + 0.5
    for mask, (left, top, right, bottom) in zip(masks, boxes, strict=True):
        if np.isnan(left):
            continue
        inside = (rows > top) & (rows < bottom) & (columns > left) & (columns < right)
        assert (mask & inside).any(), "the subject was not found in its box"
        assert (mask & inside).sum() > 0.5 * mask.sum(), "most of the mask is not in the box"
    nowhere = np.full_like(boxes, np.nan)
    assert not segmenter.segment(video, nowhere).any(), "a subject that nobody pointed at"


def check_embedder(embedder, subjects):
    """`subjects`: for each of them, at least two pictures that only it can be in, of any sizes."""
    images = [image for views in subjects for image in views]
    owner = np.repeat(np.arange(len(subjects)), [len(views) for views in subjects])
    vectors = embedder.embed(images)
    assert vectors.ndim == 2 and len(vectors) == len(images) and vectors.dtype == np.float32
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-4)
    alone = np.concatenate([embedder.embed([image]) for image in images])
    assert np.allclose(alone, vectors, atol=1e-3), "a vector depends on the other pictures"
    alike = vectors @ vectors.T - 2 * np.eye(len(vectors))
    assert (owner[alike.argmax(1)] == owner).all(), "the nearest picture is of another subject"
    assert len(embedder.embed([])) == 0


def check_shot_finder(finder, shots):
    """`shots`: videos of one size, none of which is cut; where they are joined is to be found."""
    lengths = [len(shot) for shot in shots]
    ends = np.cumsum(lengths)
    true = tuple((int(end) - length, int(end)) for end, length in zip(ends, lengths, strict=True))
    assert finder.find(np.concatenate(shots)) == true
    assert finder.find(shots[0]) == ((0, lengths[0]),)
    assert finder.find(shots[0][:1]) == ((0, 1),)
    assert finder.find(shots[0][:0]) == ()
    assert list(finder.cuts(iter(np.concatenate(shots)))) == [start for start, _ in true[1:]]
    assert list(finder.cuts(iter(shots[0][:0]))) == []
