from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alchemint_jax.scene import Clock

FPS = st.sampled_from([8.0, 15.0, 16.0, 23.976, 24.0, 29.97])
CLIPS = st.integers(1, 40).map(lambda k: 4 * k + 1)
STRIDES = st.sampled_from([1, 2, 4, 8])
CLOCK = Clock(8, 33, 4)


@st.composite
def seconds_in_a_clip(draw):
    clock = Clock(draw(FPS), draw(CLIPS), 4)
    ends = st.floats(0, 1).map(lambda x: x * clock.duration)
    start, end = sorted((draw(ends), draw(ends)))
    if start == end:
        start, end = 0.0, clock.duration
    return start, end, clock


@st.composite
def frames_in_a_clip(draw):
    n = draw(CLIPS)
    s = draw(st.integers(0, n - 1))
    return s, draw(st.integers(s + 1, n)), Clock(draw(FPS), n, 4)


def test_documented_values():
    for (duration, fps, stride), frames in {
        (4.0, 8, 4): 33,
        (5, 16, 4): 81,
        (0.1, 8, 4): 1,
        (2.25, 8, 4): 21,  # halves always go up
        (1.25, 8, 4): 13,
        (4.0, 8, 8): 33,
    }.items():
        assert Clock.for_duration(duration, fps, stride) == Clock(fps, frames, stride)
    assert Clock.for_latents(9, 4, fps=8.0) == CLOCK and CLOCK.latent_frames == 9
    assert Clock(8, 1, 4).latent_frames == 1 and Clock(8, 81, 4).latent_frames == 21
    assert CLOCK.duration == 4.0 and CLOCK.second(4) == 0.5
    assert CLOCK.spans([(0.5, 2.0), (3.5, 4.0)]) == ((4, 16), (28, 33))
    assert CLOCK.spans([(0, 99)]) == ((0, 33),)
    assert CLOCK.seconds([(4, 16), (28, 33)]) == ((0.5, 2.0), (3.5, 4.0))
    np.testing.assert_allclose(
        CLOCK.latent([(4, 16), (0, 0), (0, 1)]), [[1.375, 4.125], [1, 0], [0, 0]], rtol=0
    )


@pytest.mark.parametrize("stride", [1, 2, 4, 8])
def test_latent_frames_are_at_the_centre_of_what_they_hold(stride):
    clock = Clock.for_latents(30, stride)
    held = clock.latent_coverage(np.arange(clock.frames, dtype=float))  # centres
    np.testing.assert_allclose(clock.coordinate(held), np.arange(30))
    np.testing.assert_allclose(clock.pixel(np.arange(30)), held)
    assert clock.coordinate(0) == 0 and clock.pixel(0) == 0
    frames = [f for s, e in clock.held([(i, i) for i in range(30)]) for f in range(s, e)]
    assert frames == list(range(clock.frames))
    assert clock.held((0, 29)).tolist() == [0, clock.frames]
    assert CLOCK.coordinate(32) == 8.375  # the last pixel frame lies past the last centre
    with pytest.raises(ValueError, match="3 values for a clip of 33 frames"):
        CLOCK.latent_coverage(np.zeros((2, 3)))


@given(seconds_in_a_clip())
def test_seconds_survive_within_half_a_frame(case):
    start, end, clock = case
    ((s, e),) = clock.spans([(start, end)])
    assert 0 <= s < e <= clock.frames
    ((a, b),) = clock.seconds([(s, e)])
    half = 0.5 / clock.fps + 1e-5
    assert abs(a - start) <= half
    # An interval shorter than a frame may be widened to one, so only its start is faithful.
    assert abs(b - end) <= half or (end - start < 1 / clock.fps and e == s + 1)


@given(frames_in_a_clip())
def test_frames_survive_exactly(case):
    s, e, clock = case
    ((a, b),) = clock.seconds([(s, e)])
    assert 0 <= a < b <= clock.duration
    assert clock.spans([(a, b)]) == ((s, e),)


@given(st.lists(st.floats(-50, 5000), min_size=1), STRIDES)
def test_latent_and_pixel_are_inverse_and_increasing(values, stride):
    x, clock = np.unique(np.array(values)), Clock(8, 1, stride)
    latent = clock.coordinate(x)
    np.testing.assert_allclose(clock.pixel(latent), x, rtol=0, atol=1e-9)
    np.testing.assert_allclose(clock.coordinate(clock.pixel(x)), x, rtol=0, atol=1e-9)
    assert np.all(np.diff(latent)[np.diff(x) > 1e-9] > 0)


@pytest.mark.parametrize("stride", [1, 2, 4, 8])
def test_the_map_bends_once_and_only_for_long_strides(stride):
    """Not vacuous: a plain division by the stride would pass the inverse test."""
    slopes = np.diff(Clock(8, 1, stride).coordinate(np.linspace(0, 20, 401))) / 0.05
    assert slopes[0] == pytest.approx(2 / (stride + 1)) and slopes[-1] == pytest.approx(1 / stride)
    assert (stride == 1) == (slopes[0] == pytest.approx(slopes[-1]))


@given(st.lists(frames_in_a_clip(), min_size=1, max_size=5))
def test_latent_intervals_hold_their_frames_and_mark_padding(cases):
    rows = np.array([(s, e) for s, e, _ in cases] + [(0, 0), (7, 3)], np.int32)
    out = CLOCK.latent(rows)
    assert out.dtype == np.float32 and out.shape == rows.shape
    assert np.all(out[:-2, 0] <= out[:-2, 1])
    np.testing.assert_array_equal(out[-2:], [[1, 0], [1, 0]])
    recovered = np.rint(CLOCK.pixel(out[:-2])).astype(int)
    np.testing.assert_array_equal(recovered, rows[:-2] - [0, 1])


@pytest.mark.parametrize("stride", [1, 2, 4, 8])
def test_traced_arrays_are_converted_as_those_on_the_host(stride):
    clock = Clock(8.0, 33, stride)
    rows = np.array([[s, e] for s in range(34) for e in range(34)], np.int32)
    traced = jax.jit(clock.latent)(jnp.asarray(rows))
    assert isinstance(traced, jax.Array) and traced.dtype == jnp.float32
    np.testing.assert_allclose(traced, clock.latent(rows), rtol=1e-6)
    values = np.linspace(-1, 40, 50, dtype=np.float32)
    for convert in (clock.coordinate, clock.pixel):
        np.testing.assert_allclose(jax.jit(convert)(values), convert(values), rtol=1e-5)


def test_latent_intervals_take_batches_nothing_and_unsigned():
    assert CLOCK.latent(np.zeros((2, 3, 4, 2), int)).shape == (2, 3, 4, 2)
    assert CLOCK.latent(()).shape == (0, 2)
    np.testing.assert_array_equal(CLOCK.latent(np.zeros((1, 2), np.uint32)), [[1, 0]])
    np.testing.assert_array_equal(CLOCK.latent(np.array([[0, 1]], np.uint32)), [[0, 0]])
    for bad in ([[0.0, 1.0]], [1, 2, 3], 5):
        with pytest.raises(ValueError, match="integers"):
            CLOCK.latent(bad)


def test_a_tiny_interval_keeps_one_frame_and_late_ones_stay_inside():
    for row, frames in {(1.0, 1.001): (8, 9), (3.99, 4.0): (32, 33), (7, 8): (32, 33)}.items():
        assert CLOCK.spans([row]) == (frames,)


def test_the_asked_for_duration_counts_as_the_end():
    """3.9 s at 8 fps becomes 33 frames; "until 3.9" must still mean the last one."""
    assert Clock.for_duration(3.9, 8, 4) == CLOCK
    assert CLOCK.spans([(0, 3.9)]) == ((0, 31),)
    assert CLOCK.spans([(0, 3.9)], duration=3.9) == ((0, 33),)
    assert CLOCK.spans([(0, 3.5)], duration=3.9) == ((0, 28),)


@pytest.mark.parametrize(
    "row", [(2.0, 1.0), (1.0, 1.0), (-0.1, 1.0), (math.nan, 1.0), (0.0, math.inf)]
)
def test_intervals_that_are_none_are_refused(row):
    with pytest.raises(ValueError, match="interval"):
        CLOCK.spans([row])


def test_impossible_clips_are_refused():
    for call in (
        lambda: Clock.for_duration(1, 0, 4),
        lambda: Clock.for_duration(math.nan, 8, 4),
        lambda: Clock.for_duration(-1, 8, 4),
        lambda: Clock(8, 32, 4).latent_frames,
        lambda: Clock(8, 0, 4),
        lambda: Clock(8, 33, 0),
        lambda: CLOCK.seconds([(0, 34)]),
    ):
        with pytest.raises(ValueError):
            call()
    assert CLOCK.seconds([(0, 0)]) == ()


@pytest.mark.parametrize(
    ("seconds", "frames"), [(0, 0), (0.1, 3), (0.116, 3), (0.117, 4), (0.15, 5), (2, 60)]
)
def test_a_length_of_time_in_frames(seconds, frames):
    assert Clock(30, 100, 4).count(seconds) == frames
