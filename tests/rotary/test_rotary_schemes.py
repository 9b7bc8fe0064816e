"""Interval schemes against formulas evaluated separately, and their properties."""

from __future__ import annotations

import functools

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alchemint_jax.errors import ConfigError
from alchemint_jax.rotary import (
    FittedRope,
    MidRope,
    NoInterval,
    Scheme,
    SincRope,
    WeRope,
    axis_frequencies,
    kernel,
    rotation,
)

pytestmark = pytest.mark.slow

FREQS = axis_frequencies(64)
PAIRS = len(FREQS.t)
T = 21
EMPTY = (1.0, 0.0)
FORMULAS = [
    MidRope(),
    WeRope(),
    WeRope(right="printed"),
    WeRope(drop_edges=False),
    SincRope(),
    SincRope(norm="l2"),
    SincRope(norm="none"),
    NoInterval(),
]
SCHEMES = [*FORMULAS, FittedRope()]
each_scheme = pytest.mark.parametrize("scheme", SCHEMES, ids=str)
intervals = st.tuples(st.integers(0, T - 1), st.integers(0, T - 1)).map(
    lambda p: (float(min(p)), float(max(p)))
)


def rows(*pairs):
    return np.array(pairs, np.float32)


@functools.cache
def compiled(scheme):
    """Gains as one program; `test_leading_axes_jit_and_vmap_agree` compares it with steps."""
    return jax.jit(lambda intervals: scheme.gains(intervals, T, FREQS))


profile_of = jax.jit(lambda gains: kernel(gains, T, FREQS))


def temporal(scheme, *pairs):
    return np.asarray(compiled(scheme)(rows(*pairs)))[:PAIRS]


def expected_gain(scheme, t0, t1):
    """The formulas in float64, one interval, written for reading."""
    f = FREQS.t.astype(np.float64)
    at = lambda p: np.exp(1j * p * f)  # noqa: E731
    middle = (t0 + t1) / 2
    match scheme:
        case MidRope():
            return at(middle)
        case NoInterval():
            return at(0)
        case SincRope(norm=norm):
            x = f * (t1 - t0) / 2
            s = np.ones_like(x)
            s[x != 0] = np.sin(x[x != 0]) / x[x != 0]
            return at(middle) * s / {"l1": s.mean(), "l2": (s**2).mean() ** 0.5, "none": 1}[norm]
        case WeRope(w_p=w_p, w_n=w_n, right=right, drop_edges=drop):
            far = (T - 1 + t1) / 2 if right == "mirror" else (T - t1) / 2
            gain = w_p * at(middle)
            gain += w_n * at(middle if drop and t0 <= 0 else t0 / 2)
            gain += w_n * at(middle if drop and t1 >= T - 1 else far)
            return gain


@pytest.mark.parametrize("scheme", FORMULAS, ids=str)
@given(intervals)
@settings(max_examples=25, deadline=None)
def test_one_interval_is_its_formula(scheme, interval):
    np.testing.assert_allclose(
        temporal(scheme, interval), expected_gain(scheme, *interval), atol=3e-5
    )


@pytest.mark.parametrize("scheme", FORMULAS, ids=str)
def test_several_intervals_are_the_mean_of_their_gains(scheme):
    pairs = [(0.0, 2.4), (5.125, 9.0), (14.5, 20.375)]
    mean = np.mean([expected_gain(scheme, *p) for p in pairs], axis=0)
    np.testing.assert_allclose(temporal(scheme, *pairs), mean, atol=3e-5)


@each_scheme
@given(st.lists(intervals, min_size=1, max_size=2), st.integers(0, 2))
@settings(max_examples=10, deadline=None)
def test_empty_rows_change_nothing(scheme, pairs, position):
    padded = list(pairs)
    padded.insert(min(position, len(padded)), EMPTY)
    padded.append((7.0, -3.0))
    np.testing.assert_allclose(temporal(scheme, *padded), temporal(scheme, *pairs), atol=1e-6)


@each_scheme
@pytest.mark.parametrize("nothing", [rows(EMPTY), rows(EMPTY, EMPTY), np.zeros((0, 2), np.float32)])
def test_a_subject_without_intervals_has_finite_gains(scheme, nothing):
    gains = np.asarray(compiled(scheme)(nothing))
    assert np.isfinite(gains).all()
    assert np.abs(gains[PAIRS:]).min() > 0.9  # its place in space stays known


def test_without_intervals_no_frame_is_preferred():
    assert np.abs(temporal(WeRope(), EMPTY)).max() == 0
    assert np.asarray(profile_of(temporal(FittedRope(), EMPTY))).max() < 0


@each_scheme
def test_leading_axes_jit_and_vmap_agree(scheme):
    assert isinstance(scheme, Scheme)
    rng = np.random.default_rng(0)
    batch = np.sort(rng.uniform(0, T - 1, (2, 3, 2, 2)), axis=-1).astype(np.float32)
    batch[1, 2, 1] = EMPTY
    gains = scheme.gains(batch, T, FREQS)
    assert gains.shape == (2, 3, 32) and gains.dtype == np.complex64
    one_by_one = [[compiled(scheme)(batch[i, j]) for j in range(3)] for i in range(2)]
    np.testing.assert_allclose(gains, one_by_one, atol=2e-6)
    traced = jax.jit(jax.vmap(lambda x, f: scheme.gains(x, T, f), (0, None)))(batch, FREQS)
    np.testing.assert_allclose(traced, gains, atol=5e-4)  # fitted: solved in float32 when traced
    constant = compiled(scheme)(batch)
    np.testing.assert_allclose(constant, gains, atol=2e-6)


def test_moduli():
    interval = (4.0, 11.0)
    np.testing.assert_allclose(np.abs(temporal(MidRope(), interval)), 1, atol=1e-6)
    modulus = np.abs(temporal(WeRope(), interval))
    assert modulus.max() > 2 and modulus.min() == pytest.approx(1.01, abs=0.01)
    assert np.mean(np.abs(temporal(SincRope(norm="l2"), interval)) ** 2) == pytest.approx(1)


def test_spatial_pairs_hold_the_sum_of_the_weights():
    for scheme in SCHEMES:
        total = 1.01 if isinstance(scheme, WeRope) else 1.0
        gains = np.asarray(compiled(scheme)(rows((0, 5), (7, 9))))
        np.testing.assert_allclose(gains[PAIRS:], total, atol=1e-6)


@given(st.floats(0, T - 1), st.floats(0, T - 1), st.floats(-2, 2), st.floats(-2, 2))
@settings(max_examples=20, deadline=None)
def test_profiles_superpose_linearly(p, q, a, b):
    first, second = (np.asarray(rotation(x, FREQS.t)) for x in (p, q))
    mixed = profile_of(np.complex64(a) * first + np.complex64(b) * second)
    apart = [x * np.asarray(profile_of(y)) for x, y in ((a, first), (b, second))]
    np.testing.assert_allclose(mixed, sum(apart), atol=2e-5)


@given(intervals)
@settings(max_examples=25, deadline=None)
def test_reversing_time_reverses_the_mirror_profile(interval):
    reverse = (T - 1 - interval[1], T - 1 - interval[0])
    profile = profile_of(temporal(WeRope(), interval))
    np.testing.assert_allclose(profile_of(temporal(WeRope(), reverse)), profile[::-1], atol=3e-5)


def test_the_printed_right_anchor_is_not_symmetric():
    printed = WeRope(right="printed")
    profile = profile_of(temporal(printed, (12, 18)))
    reverse = profile_of(temporal(printed, (2, 8)))[::-1]
    assert np.abs(profile - reverse).max() > 0.1


def test_edges_with_nothing_outside_are_dropped():
    whole = temporal(WeRope(), (0, T - 1))
    np.testing.assert_allclose(whole, 1.01 * temporal(MidRope(), (0, T - 1)), atol=1e-6)
    np.testing.assert_allclose(
        temporal(WeRope(), (0, T - 1 + 0.375)),
        1.01 * temporal(MidRope(), (0, T - 1 + 0.375)),
        atol=1e-6,
    )
    kept = WeRope(drop_edges=False)
    for interval, differs in (((0, 8), True), ((12, 20), True), ((3, 8), False)):
        gap = np.abs(temporal(WeRope(), interval) - temporal(kept, interval)).max()
        assert (gap > 0.1) == differs


def test_no_interval_ignores_intervals_and_werope_does_not():
    np.testing.assert_array_equal(temporal(NoInterval(), (8, 10)), temporal(NoInterval(), (1, 17)))
    same_middle = [temporal(MidRope(), (8, 10)), temporal(MidRope(), (1, 17))]
    np.testing.assert_allclose(*same_middle, atol=1e-6)
    assert np.abs(temporal(WeRope(), (8, 10)) - temporal(WeRope(), (1, 17))).max() > 0.5


@pytest.mark.parametrize("make", [lambda: WeRope(right="left"), lambda: SincRope(norm="l3")])
def test_unknown_variants_are_refused(make):
    # A type checker refuses them too; TypeError comes from the one that runs under the tests.
    with pytest.raises((ConfigError, TypeError)):
        make()
