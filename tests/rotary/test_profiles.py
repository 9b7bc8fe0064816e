"""Figures of attention profiles against brute force."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from alchemint_jax.rotary import NoInterval, axis_frequencies
from alchemint_jax.rotary.profiles import (
    FIGURES,
    asked_intervals,
    auc,
    best_iou,
    contrast,
    correlation,
    measure,
    profiles,
    shown,
)


@st.composite
def cases(draw):
    """Profiles with many ties, and masks with both kinds of frames in every row."""
    n, t = draw(st.integers(1, 4)), draw(st.integers(2, 6))
    profile = draw(arrays(np.float64, (n, t), elements=st.integers(-3, 3).map(lambda i: i / 4)))
    inside = draw(arrays(np.bool_, (n, t)))
    inside[:, 0], inside[:, -1] = True, False
    order = draw(st.permutations(range(t)))
    return profile, inside[:, order]


@given(cases())
@settings(max_examples=60, deadline=None)
def test_figures_are_what_they_say(case):
    profile, inside = case
    gaps, ranks = [], []
    for p, m in zip(profile, inside, strict=True):
        gaps.append(p[m].mean() - p[~m].mean())
        ranks.append(np.mean([(a > b) + (a == b) / 2 for a in p[m] for b in p[~m]]))
    assert contrast(profile, inside) == pytest.approx(np.mean(gaps))
    assert auc(profile, inside) == pytest.approx(np.mean(ranks))
    by_threshold = [
        np.mean(((profile >= c) & inside).sum(1) / ((profile >= c) | inside).sum(1))
        for c in np.unique(profile)
    ]
    assert best_iou(profile, inside) == pytest.approx(max(by_threshold))


@given(arrays(np.float64, (2, 7), elements=st.integers(-5, 5).map(float)))
@settings(max_examples=40, deadline=None)
def test_correlation_is_pearsons_and_0_for_a_constant(pair):
    a, b = pair
    expected = np.corrcoef(a, b)[0, 1] if np.ptp(a) and np.ptp(b) else 0.0
    assert correlation(a, b) == pytest.approx(expected, abs=1e-9)


def test_intervals_are_all_there_are_and_ask_for_whole_frames():
    pixels, inside = asked_intervals(4)
    found = {tuple(row): mask for row, mask in zip(pixels.tolist(), inside, strict=True)}
    for s in range(13):
        for e in range(s + 2, 14):
            frames = [range(0, 1), range(1, 5), range(5, 9), range(9, 13)]
            mask = np.array([np.mean([s <= p < e for p in f]) >= 0.5 for f in frames])
            if mask.any() and not mask.all():
                np.testing.assert_array_equal(found.pop((s, e)), mask)
    assert not found


def test_a_perfect_profile_scores_one_and_a_blind_one_does_not():
    pixels, inside = asked_intervals(6)
    perfect = measure(inside.astype(np.float64), inside)
    assert perfect == pytest.approx(dict.fromkeys(FIGURES, 1.0))
    blind = measure(profiles(NoInterval(), pixels, 6, axis_frequencies(48)), inside)
    assert blind["gap"] < 0.05 and blind["iou"] < 0.6
    assert blind["midpoint"] == blind["length"] == 0.0
    flat = measure(np.zeros(inside.shape), inside)
    assert flat["gap"] == flat["midpoint"] == flat["length"] == 0.0 and flat["auc"] == 0.5


def test_shown_is_the_upper_half_of_the_own_range():
    np.testing.assert_array_equal(
        shown(np.array([[0.0, 0.4, 0.6, 1.0], [-5.0, -4.9, -4.0, -5.0]])),
        [[False, False, True, True], [False, False, True, False]],
    )
