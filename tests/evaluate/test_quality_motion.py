"""Movement accuracy and dynamic degree, on motion of known pixels.

The flow here finds by how much a picture was moved as a whole; `make parity` has Farneback's.
"""

from __future__ import annotations

import math
import sys

import numpy as np
import pytest

from alchemint_jax.errors import ConfigError
from alchemint_jax.evaluate.quality import (
    busiest_second,
    dynamic_degree,
    load_farneback,
    movement_accuracy,
)


def shifted(before, after):
    """How far the brightest column has gone to the right."""
    moved = float(after[0].argmax()) - float(before[0].argmax())
    return np.broadcast_to(np.float32([moved, 0]), (*before.shape, 2))


def moving(steps, height=16, width=64):
    """A bright column that goes on by so many pixels after each frame."""
    video = np.zeros((len(steps) + 1, height, width, 3), np.uint8)
    for frame, column in zip(video, np.cumsum([4, *steps]), strict=True):
        frame[:, column] = 200
    return video


def test_the_busiest_second_is_found():
    # 8 frames a second, every second of which is compared: the third second is fast.
    steps = [0] * 16 + [3] * 8 + [1] * 8
    assert busiest_second(moving(steps), 8, shifted) == 2
    assert busiest_second(moving(steps)[:, :, ::-1], 8, shifted) == 2
    assert busiest_second(moving(steps[::-1]), 8, shifted) == 1
    assert movement_accuracy(moving(steps), 8, 2, shifted) == 1
    assert movement_accuracy(moving(steps), 8, 1, shifted) == 0


def test_five_seconds_of_wan_are_those_of_the_paper():
    """81 frames of 16 a second: five seconds, the last of which holds frame 80, too."""
    for second in range(5):
        steps = np.zeros(80, int)
        steps[16 * second + 4 : 16 * second + 12] = 2
        assert busiest_second(moving(steps), 16, shifted) == second
    last = np.zeros(80, int)
    last[76:] = 1
    assert busiest_second(moving(last), 16, shifted) == 4


@pytest.mark.parametrize("fps", [1, 4, 7, 23.976, 30])
def test_other_rates(fps):
    rate = int(fps)
    steps = np.zeros(4 * rate, int)
    steps[2 * rate : 3 * rate] = 1
    assert busiest_second(moving(steps, width=128), fps, shifted) == 2


def test_what_stands_still_is_wrong_in_every_second():
    still = moving([0] * 16)
    assert busiest_second(still, 8, shifted) is None
    assert movement_accuracy(still, 8, 0, shifted) == 0
    for video in (still[:1], still[:0]):
        assert busiest_second(video, 8, shifted) is None


def test_something_moves_fast_in_a_quarter():
    # 16 pixels high: the bound is 6 * 16 / 256 = 0.375 pixels. 9 frames: a quarter are 2 pairs.
    assert dynamic_degree(moving([1, 0, 0, 0, 0, 0, 0, 0]), 8, shifted) == 0
    assert dynamic_degree(moving([1, 0, 0, 1, 0, 0, 0, 0]), 8, shifted) == 1
    assert dynamic_degree(moving([0] * 8), 8, shifted) == 0


def test_the_bound_follows_size_and_rate():
    half = lambda before, after: np.full((*before.shape, 2), 3 / math.sqrt(2), np.float32)  # noqa: E731
    for side, degree in ((120, 1), (127, 1), (129, 0)):  # 3 pixels are the bound at 128
        assert dynamic_degree(np.zeros((5, side, 200, 3), np.uint8), 8, half) == degree
        assert dynamic_degree(np.zeros((5, 200, side, 3), np.uint8), 8, half) == degree
    assert dynamic_degree(np.zeros((5, 120, 200, 3), np.uint8), 4, half) == 0  # twice as long
    # At 16 a second every other frame is looked at, so 1 pixel a frame is 2 between the two.
    assert dynamic_degree(moving([1] * 8, 80, 100), 16, shifted) == 1  # bound 1.875
    assert dynamic_degree(moving([1] * 8, 90, 100), 16, shifted) == 0  # bound 2.1


def test_a_twentieth_of_the_frame_must_move():
    def part(share):
        def flow(before, after):
            field = np.zeros((*before.shape, 2), np.float32)
            field.reshape(-1, 2)[: int(before.size * share), 0] = 8
            return field

        return dynamic_degree(np.zeros((5, 256, 256, 3), np.uint8), 8, flow)

    assert part(0.05) == 1 and part(0.03) == 0  # 8 * 0.03 / 0.05 = 4.8 pixels


def test_one_pair_is_enough_for_few_frames_and_one_frame_is_not():
    assert dynamic_degree(moving([1]), 8, shifted) == 1
    assert dynamic_degree(moving([0]), 8, shifted) == 0
    assert math.isnan(dynamic_degree(moving([]), 8, shifted))


def test_without_opencv_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(ConfigError, match=r"needs OpenCV.*pip install 'alchemint-jax\[metrics\]'"):
        load_farneback()
