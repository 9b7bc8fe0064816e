"""TempoControl's accuracies of objects, by hand and at their analytic values."""

from __future__ import annotations

import math

import numpy as np
import pytest

from alchemint_jax.evaluate.quality import frames_right, sampled_frames


def test_frames_are_evenly_spaced():
    assert sampled_frames(81).tolist() == list(range(0, 81, 4))
    assert sampled_frames(10, 4).tolist() == [0, 3, 6, 9]
    assert sampled_frames(11, 4).tolist() == [0, 3, 6, 10]  # 3.33 and 6.67 become the earlier one
    assert sampled_frames(3).tolist() == [0, 1, 2] and sampled_frames(1).tolist() == [0]
    assert sampled_frames(0).tolist() == []


def late(onset, count=21):
    return (np.arange(count) >= onset)[:, None]


@pytest.mark.parametrize("onset", [0, 5, 9, 13, 17, 21])
def test_one_object(onset):
    asked = late(onset)
    assert frames_right(asked, asked) == 1
    assert frames_right(np.ones_like(asked), asked) == (21 - onset) / 21  # always there
    assert frames_right(np.zeros_like(asked), asked) == onset / 21  # never there
    assert frames_right(~asked, asked) == 0
    for shift in (1, 3):
        shown = late(onset + shift)
        assert frames_right(shown, asked) == (21 - min(shift, 21 - onset)) / 21


def test_two_objects():
    asked = np.concatenate([late(0), late(10)], 1)
    assert frames_right(asked, asked) == 1
    assert frames_right(np.ones_like(asked), asked) == 11 / 21
    # The static one is missing from the last six frames, the other one comes two frames late.
    shown = np.concatenate([late(0) & ~late(15), late(12)], 1)
    assert frames_right(shown, asked) == (21 - 6 - 2) / 21
    assert frames_right(shown[:, ::-1], asked[:, ::-1]) == frames_right(shown, asked)
    assert frames_right(shown[::-1], asked[::-1]) == frames_right(shown, asked)


def test_no_frames_and_one():
    assert math.isnan(frames_right(np.zeros((0, 1), bool), np.zeros((0, 1), bool)))
    assert frames_right(np.array([[True]]), np.array([[True]])) == 1
