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
    return rng.uniform(-1, 1, (3, 4, 6, 3)).astype(np.float32)


def _encode(video):
    """A stand-in autoencoder: every fourth frame at half the size, two channels."""
    return jnp.asarray(video)[:, ::4, ::2, ::2, :2]


def test_video_is_grey_where_nothing_is_given(pictures):
    first, middle, last = pictures
    video = keyframe_video(9, {0: first, 8: last, 5: middle})
    assert video.shape == (9, 4, 6, 3)
    for frame, picture in ((0, first), (5, middle), (8, last)):
        np.testing.assert_array_equal(video[frame], picture)
    assert not video[[1, 2, 3, 4, 6, 7]].any()
    np.testing.assert_array_equal(keyframe_video(1, {0: first})[0], first)


def test_mask_marks_the_pixel_frames_that_are_given():
    np.testing.assert_array_equal(keyframe_mask(clock(9), [0]), [[1] * 4, [0] * 4, [0] * 4])
    np.testing.assert_array_equal(keyframe_mask(clock(9), [0, 8]), [[1] * 4, [0] * 4, [0, 0, 0, 1]])
    # Frame 2 is the second of latent frame 1; two of one latent frame may be given.
    np.testing.assert_array_equal(keyframe_mask(clock(9), [2, 3]), [[0] * 4, [0, 1, 1, 0], [0] * 4])
    np.testing.assert_array_equal(keyframe_mask(clock(1), [0]), [[1, 1, 1, 1]])
    np.testing.assert_array_equal(keyframe_mask(Clock(8, 5, 2), [0, 4]), [[1, 1], [0, 0], [0, 1]])


def test_condition_is_the_mask_and_then_the_latents(pictures):
    """Of two samples that are given other frames; of the second, a part of each picture."""
    first, middle, last = pictures
    given = [{0: first, 8: last}, {4: middle}]
    cells = np.ones((2, 2, 3), bool)
    cells[1, 0] = False
    condition = np.asarray(keyframe_condition(_encode, clock(9), given, cells))
    assert condition.shape == (2, 3, 2, 3, 4 + 2)
    np.testing.assert_array_equal(condition[0, :, 1, 2, :4], keyframe_mask(clock(9), [0, 8]))
    np.testing.assert_array_equal(condition[1, :, 1, 2, :4], keyframe_mask(clock(9), [4]))
    assert condition[1, 1, 1, :, 3].all() and not condition[1, :, 0, :, :4].any()
    np.testing.assert_array_equal(condition[0, 0, :, :, 4:], first[::2, ::2, :2])
    np.testing.assert_array_equal(condition[0, 2, :, :, 4:], last[::2, ::2, :2])
    np.testing.assert_array_equal(condition[1, 1, :, :, 4:], middle[::2, ::2, :2])
    whole = np.asarray(keyframe_condition(_encode, clock(9), given))
    assert whole[1, 1, 0, :, 3].all()


def test_frames_that_do_not_fit_are_named(pictures):
    with pytest.raises(ValueError, match=r"4k\+1 frames .*, not 8"):
        keyframe_condition(_encode, clock(8), [{0: pictures[0]}])
    with pytest.raises(ValueError, match=r"pictures at \[0, 9\] are not in a video of 9 frames"):
        keyframe_video(9, {0: pictures[0], 9: pictures[1]})
    with pytest.raises(ValueError, match=r"pictures at \[\]"):
        keyframe_video(9, {})
