"""Given frames as a condition; tests/parity/parity_keyframes.py compares with diffusers."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from alchemint_jax.models.dit.keyframes import (
    keyframe_condition,
    keyframe_mask,
    keyframe_video,
)
from alchemint_jax.scene import Clock


def clock(frames):
    return Clock(16, frames, 4)


@pytest.fixture
def pictures():
    rng = np.random.default_rng(0)
    return rng.uniform(-1, 1, (2, 2, 4, 6, 3)).astype(np.float32)


def _encode(video):
    """A stand-in autoencoder: every fourth frame at half the size, two channels."""
    return jnp.asarray(video)[:, ::4, ::2, ::2, :2]


def test_video_is_grey_where_nothing_is_given(pictures):
    first, last = pictures
    video = np.asarray(keyframe_video(9, first, last))
    assert video.shape == (2, 9, 4, 6, 3)
    np.testing.assert_array_equal(video[:, 0], first)
    np.testing.assert_array_equal(video[:, 8], last)
    assert not video[:, 1:8].any()
    assert not np.asarray(keyframe_video(9, first))[:, 1:].any()
    np.testing.assert_array_equal(np.asarray(keyframe_video(1, first))[:, 0], first)


def test_mask_marks_the_pixel_frames_that_are_given():
    np.testing.assert_array_equal(keyframe_mask(clock(9)), [[1, 1, 1, 1], [0] * 4, [0] * 4])
    np.testing.assert_array_equal(
        keyframe_mask(clock(9), last=True), [[1, 1, 1, 1], [0] * 4, [0, 0, 0, 1]]
    )
    np.testing.assert_array_equal(keyframe_mask(clock(1)), [[1, 1, 1, 1]])
    np.testing.assert_array_equal(keyframe_mask(Clock(8, 5, 2), True), [[1, 1], [0, 0], [0, 1]])


def test_condition_is_the_mask_and_then_the_latents(pictures):
    first, last = pictures
    condition = np.asarray(keyframe_condition(_encode, clock(9), first, last))
    assert condition.shape == (2, 3, 2, 3, 4 + 2)
    np.testing.assert_array_equal(condition[1, :, 1, 2, :4], keyframe_mask(clock(9), True))
    np.testing.assert_array_equal(condition[:, 0, :, :, 4:], first[:, ::2, ::2, :2])
    np.testing.assert_array_equal(condition[:, 2, :, :, 4:], last[:, ::2, ::2, :2])


def test_frames_that_do_not_fit_are_named(pictures):
    with pytest.raises(ValueError, match=r"4k\+1 frames .*, not 8"):
        keyframe_condition(_encode, clock(8), pictures[0])
    with pytest.raises(ValueError, match="2 pictures do not fit into 1 frames"):
        keyframe_condition(_encode, clock(1), *pictures)
