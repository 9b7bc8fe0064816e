"""The contracts of `perceive` hold for a fake of a few lines, and not for one that breaks them."""

from __future__ import annotations

import numpy as np
import pytest
from contracts import check_detector, check_embedder, check_segmenter, check_shot_finder

from alchemint_jax.perceive import Detections, Detector, Embedder, Segmenter, ShotFinder

COLORS = {"red": (200, 0, 0), "green": (0, 200, 0), "blue": (0, 0, 200)}
WORDS = ["red", "green", "car"]


def square(color, at, frames=6, side=12):
    video = np.full((frames, 24, 32, 3), 128, np.uint8)
    video[1:-1, at : at + side, at : at + side] = COLORS[color]
    return video


class Colors:
    """A detector, segmenter, embedder and shot finder of coloured squares on grey."""

    vocabulary = tuple(COLORS)

    def detect(self, video, words):
        return [self._frame(frame, words) for frame in video]

    def _frame(self, frame, words):
        rows = []
        for number, word in enumerate(words):
            y, x = np.nonzero((frame == COLORS.get(word, (1, 2, 3))).all(-1))
            if len(y):
                rows.append((x.min(), y.min(), x.max() + 1, y.max() + 1, 0.9, number))
        found = np.array(rows, np.float32).reshape(-1, 6)
        return Detections(found[:, :4], found[:, 4], found[:, 5].astype(int))

    def segment(self, video, boxes):
        masks = np.ptp(video, axis=-1) > 50
        for mask, (left, top, right, bottom) in zip(masks, np.nan_to_num(boxes), strict=True):
            mask[: int(top)] = mask[int(bottom) :] = False
            mask[:, : int(left)] = mask[:, int(right) :] = False
        return masks

    def embed(self, pictures):
        means = np.array([p.mean((0, 1)) - p.mean() for p in pictures]).reshape(-1, 3)
        return (means / np.linalg.norm(means, axis=1, keepdims=True)).astype(np.float32)

    def cuts(self, frames):
        before = None
        for number, frame in enumerate(frames):
            color = frame.mean((0, 1))
            if before is not None and np.abs(color - before).max() > 90:
                yield number
            before = color

    def find(self, video):
        ends = [0, *self.cuts(video), len(video)]
        return tuple((a, b) for a, b in zip(ends, ends[1:], strict=False) if b > a)


VIDEO = square("red", 4)
BOXES = np.array([[np.nan] * 4] + [[4, 4, 16, 16]] * 3 + [[np.nan] * 4] * 2, np.float32)
VIEWS = [[square(c, 2)[1], square(c, 9, side=8)[2, :20]] for c in COLORS]
SHOTS = [np.full((4, 8, 8, 3), level, np.uint8) for level in (20, 230, 120)]


def contracts(backend):
    return {
        "detector": lambda: check_detector(backend, VIDEO, WORDS),
        "segmenter": lambda: check_segmenter(backend, VIDEO, BOXES),
        "embedder": lambda: check_embedder(backend, VIEWS),
        "shots": lambda: check_shot_finder(backend, SHOTS),
    }


def test_a_fake_keeps_the_contracts():
    backend = Colors()
    protocols: tuple[Detector, Segmenter, Embedder, ShotFinder] = (backend,) * 4
    assert len(protocols) == 4
    for check in contracts(backend).values():
        check()


def later(found):
    """As of a detector that looks at the frame before, too."""
    return [found[0], *found[:-1]]


def without_a_word(found):
    """As of a detector that gives every box to the first word."""
    return [Detections(f.boxes, f.scores, np.zeros_like(f.words)) for f in found]


def in_shares(found):
    """As of a detector that gives boxes as shares of the frame, outside of it at that."""
    return [Detections(f.boxes / 8 - 1, f.scores, f.words) for f in found]


def test_a_last_bit_that_changes_the_order_of_boxes_changes_nothing():
    class Rounding(Colors):
        calls = 0

        def detect(self, video, words):
            self.calls += 1
            left = 4 + 1e-6 * (self.calls % 2)
            rows = {"red": (left, 2, 8, 6, 0.9), "blue": (4, 9, 8, 12, 0.8)}
            found = [(*rows[word], n) for n, word in enumerate(words) if word in rows]
            found = np.array(found, np.float32).reshape(-1, 6)
            one = Detections(found[:, :4], found[:, 4], found[:, 5].astype(int))
            return [one for _ in video]

    check_detector(Rounding(), VIDEO, ["red", "blue"])


def test_a_detector_that_finds_a_word_that_it_does_not_know_is_found_out():
    class Wrong(Colors):
        def detect(self, video, words):
            return super().detect(video, [w if w in (*COLORS, "car") else "red" for w in words])

    with pytest.raises(AssertionError):
        check_detector(Wrong(), VIDEO, WORDS)


@pytest.mark.parametrize(
    ("contract", "method", "spoil"),
    [
        ("detector", "detect", later),
        ("detector", "detect", without_a_word),
        ("detector", "detect", in_shares),
        ("segmenter", "segment", lambda masks: ~masks),
        ("segmenter", "segment", lambda masks: masks.astype(np.float32)),
        ("segmenter", "segment", lambda masks: masks | True),
        ("segmenter", "segment", lambda masks: masks & False),
        ("embedder", "embed", lambda vectors: 2 * vectors),
        ("embedder", "embed", lambda vectors: vectors[::-1]),
        ("embedder", "embed", lambda vectors: np.roll(vectors, 1, axis=0)),
        ("shots", "cuts", lambda cuts: iter([])),
        ("shots", "find", lambda shots: shots[:1]),
        ("shots", "find", lambda shots: tuple((start, end - 1) for start, end in shots)),
    ],
)
def test_one_that_breaks_a_contract_is_found_out(contract, method, spoil):
    class Wrong(Colors):
        pass

    setattr(Wrong, method, lambda self, *given: spoil(getattr(Colors, method)(self, *given)))
    with pytest.raises(AssertionError):
        contracts(Wrong())[contract]()
