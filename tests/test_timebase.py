from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alchemint_jax import timebase as tb

FPS = st.sampled_from([8.0, 15.0, 16.0, 23.976, 24.0, 29.97])
CLIPS = st.integers(1, 40).map(lambda k: 4 * k + 1)
STRIDES = st.sampled_from([1, 2, 4, 8])


@st.composite
def seconds_in_a_clip(draw):
    fps, n = draw(FPS), draw(CLIPS)
    length = (n - 1) / fps
    ends = st.floats(0, 1).map(lambda x: x * length)
    start, end = sorted((draw(ends), draw(ends)))
    if start == end:
        start, end = 0.0, length
    return start, end, fps, n


@st.composite
def frames_in_a_clip(draw):
    n = draw(CLIPS)
    s = draw(st.integers(0, n - 1))
    return s, draw(st.integers(s + 1, n)), draw(FPS), n


def test_documented_values():
    assert tb.frames_for(4.0, 8) == 33
    assert tb.frames_for(5, 16) == 81
    assert tb.frames_for(0.1, 8) == 1
    assert tb.frames_for(2.25, 8) == 21 and tb.frames_for(1.25, 8) == 13  # halves always go up
    assert tb.frames_for(4.0, 8, stride=8) == 33
    assert tb.latent_frames(33) == 9 and tb.latent_frames(1) == 1 and tb.latent_frames(81) == 21
    rows = tb.seconds_to_frames([(0.5, 2.0), (1.5, 4.0), (0, 99)], 8, 33)
    assert rows == ((4, 16), (12, 33), (0, 33))
    assert tb.frames_to_seconds(rows, 8, 33) == ((0.5, 2.0), (1.5, 4.0), (0.0, 4.0))
    np.testing.assert_allclose(
        tb.latent_intervals([(4, 16), (0, 0), (0, 1)]), [[1.375, 4.125], [1, 0], [0, 0]], rtol=0
    )


def test_latent_frames_are_at_the_centre_of_what_they_hold():
    for i in range(1, 30):
        held = np.arange(4 * i - 3, 4 * i + 1)
        assert held.mean() == 4 * i - 1.5
        assert tb.latent_coordinate(held.mean()) == i
        assert tb.pixel_coordinate(i) == 4 * i - 1.5
    assert tb.latent_coordinate(0) == 0 and tb.pixel_coordinate(0) == 0
    assert tb.latent_coordinate(32) == 8.375  # the last pixel frame lies past the last centre


@given(seconds_in_a_clip())
def test_seconds_survive_within_half_a_frame(case):
    start, end, fps, n = case
    ((s, e),) = tb.seconds_to_frames([(start, end)], fps, n)
    assert 0 <= s < e <= n
    ((a, b),) = tb.frames_to_seconds([(s, e)], fps, n)
    half = 0.5 / fps + 1e-5
    assert abs(a - start) <= half
    # An interval shorter than a frame may be widened to one, so only its start is faithful.
    assert abs(b - end) <= half or (end - start < 1 / fps and e == s + 1)


@given(frames_in_a_clip())
def test_frames_survive_exactly(case):
    s, e, fps, n = case
    ((a, b),) = tb.frames_to_seconds([(s, e)], fps, n)
    assert 0 <= a < b <= (n - 1) / fps
    assert tb.seconds_to_frames([(a, b)], fps, n) == ((s, e),)


@given(st.lists(st.floats(-50, 5000), min_size=1), STRIDES)
def test_latent_and_pixel_are_inverse_and_increasing(values, stride):
    x = np.unique(np.array(values))
    latent = tb.latent_coordinate(x, stride=stride)
    np.testing.assert_allclose(tb.pixel_coordinate(latent, stride=stride), x, rtol=0, atol=1e-9)
    back = tb.latent_coordinate(tb.pixel_coordinate(x, stride=stride), stride=stride)
    np.testing.assert_allclose(back, x, rtol=0, atol=1e-9)
    assert np.all(np.diff(latent)[np.diff(x) > 1e-9] > 0)


@pytest.mark.parametrize("stride", [1, 2, 4, 8])
def test_the_map_bends_once_and_only_for_long_strides(stride):
    """Not vacuous: a plain division by the stride would pass the inverse test."""
    slopes = np.diff(tb.latent_coordinate(np.linspace(0, 20, 401), stride=stride)) / 0.05
    assert slopes[0] == pytest.approx(2 / (stride + 1)) and slopes[-1] == pytest.approx(1 / stride)
    assert (stride == 1) == (slopes[0] == pytest.approx(slopes[-1]))


@given(st.lists(frames_in_a_clip(), min_size=1, max_size=5))
def test_latent_intervals_hold_their_frames_and_mark_padding(cases):
    rows = np.array([(s, e) for s, e, _, _ in cases] + [(0, 0), (7, 3)], np.int32)
    out = tb.latent_intervals(rows)
    assert out.dtype == np.float32 and out.shape == rows.shape
    assert np.all(out[:-2, 0] <= out[:-2, 1])
    np.testing.assert_array_equal(out[-2:], [[1, 0], [1, 0]])
    recovered = np.rint(tb.pixel_coordinate(out[:-2])).astype(int)
    np.testing.assert_array_equal(recovered, rows[:-2] - [0, 1])


def test_latent_intervals_take_batches_nothing_and_unsigned():
    assert tb.latent_intervals(np.zeros((2, 3, 4, 2), int)).shape == (2, 3, 4, 2)
    assert tb.latent_intervals(()).shape == (0, 2)
    np.testing.assert_array_equal(tb.latent_intervals(np.zeros((1, 2), np.uint32)), [[1, 0]])
    for bad in ([[0.0, 1.0]], [1, 2, 3], 5):
        with pytest.raises(ValueError, match="integers"):
            tb.latent_intervals(bad)


def test_a_tiny_interval_keeps_one_frame_and_late_ones_stay_inside():
    assert tb.seconds_to_frames([(1.0, 1.001), (3.99, 4.0), (7, 8)], 8, 33) == (
        (8, 9),
        (32, 33),
        (32, 33),
    )


def test_the_asked_for_duration_counts_as_the_end():
    """3.9 s at 8 fps becomes 33 frames; "until 3.9" must still mean the last one."""
    assert tb.frames_for(3.9, 8) == 33
    assert tb.seconds_to_frames([(0, 3.9)], 8, 33) == ((0, 31),)
    assert tb.seconds_to_frames([(0, 3.9), (0, 3.5)], 8, 33, duration=3.9) == ((0, 33), (0, 28))


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=6))
def test_merging_covers_the_same_frames_once(rows):
    merged = tb.merge_intervals(rows)
    covered = [f for s, e in merged for f in range(int(s), int(e))]
    assert covered == sorted({f for s, e in rows for f in range(s, e)})
    assert all(a[1] < b[0] for a, b in zip(merged, merged[1:], strict=False))


@pytest.mark.parametrize(
    "row", [(2.0, 1.0), (1.0, 1.0), (-0.1, 1.0), (math.nan, 1.0), (0.0, math.inf)]
)
def test_intervals_that_are_none_are_refused(row):
    with pytest.raises(ValueError, match="interval"):
        tb.seconds_to_frames([row], 8, 33)


def test_impossible_clips_are_refused():
    for call in (
        lambda: tb.frames_for(1, 0),
        lambda: tb.frames_for(math.nan, 8),
        lambda: tb.frames_for(-1, 8),
        lambda: tb.latent_frames(32),
        lambda: tb.latent_frames(0),
        lambda: tb.seconds_to_frames([], 8, 0),
        lambda: tb.frames_to_seconds([(0, 34)], 8, 33),
    ):
        with pytest.raises(ValueError):
            call()
    assert tb.frames_to_seconds([(0, 0)], 8, 33) == ()
