from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alchemint_jax import evaluate
from alchemint_jax.evaluate import metrics as m

bounds = st.tuples(st.integers(0, 40), st.integers(1, 40)).map(lambda p: (p[0], p[0] + p[1]))


@pytest.mark.parametrize(
    ("pred", "true", "iou", "error"),
    [
        ((0.2, 0.5), (0.2, 0.5), 1, 0),
        ((0.0, 1.0), (0.25, 0.75), 0.5, 0.25),  # always present: t-IOU is the length asked for
        ((0.0, 0.5), (0.25, 0.75), 1 / 3, 0.25),
        ((0.0, 0.2), (0.6, 0.8), 0, 0.6),  # disjoint: t-L2 still says how far
        ((0.0, 0.5), (0.5, 1.0), 0, 0.5),  # half-open: touching is not overlapping
        ([(0.1, 0.2), (0.6, 0.9)], (0.1, 0.9), 1, 0),  # several: the span
        ((0.2, 0.5), [(0.2, 0.3), (0, 0)], 1 / 3, np.sqrt(0.02)),  # (0, 0) is padding
        (None, (0.2, 0.5), 0, 1),
        ([], (0.2, 0.5), 0, 1),
        ((0.2, 0.5), [], 0, 1),
        (None, [], 1, 0),
        (np.array([[0.2, 0.5]]), [0.2, 0.5], 1, 0),
    ],
)
def test_interval_cases(pred, true, iou, error):
    assert evaluate.t_iou(pred, true) == pytest.approx(iou)
    assert evaluate.t_l2(pred, true) == pytest.approx(error)


def test_one_frame_counts_and_durations_normalise():
    assert m.t_iou((4, 5), (4, 8)) == pytest.approx(1 / 4)
    assert m.t_l2((4, 5), (4, 8), duration=33) == pytest.approx(3 / np.sqrt(2) / 33)


@pytest.mark.parametrize("bad", [(1, 2, 3), [[1, 2], [3, float("nan")]], (0, float("inf"))])
def test_what_is_no_interval_is_refused(bad):
    with pytest.raises(ValueError, match="expected"):
        m.t_iou(bad, (0, 1))
    with pytest.raises(ValueError, match="duration"):
        m.t_l2((0, 1), (0, 1), duration=0)


@given(bounds, bounds)
def test_metrics_agree_with_counting_frames(a, b):
    pred, true = (np.isin(np.arange(90), np.arange(*span)) for span in (a, b))
    assert m.t_iou(a, b) == pytest.approx(m.frame_iou(pred, true))
    assert m.t_iou(a, b) == pytest.approx(m.t_iou(b, a))
    assert (m.t_iou(a, b) == 1) == (a == b) == (m.t_l2(a, b, 90) == 0)
    assert m.presence_rate(pred, true) == pytest.approx((pred & true).sum() / true.sum())


def test_presence_has_the_gaps_that_spans_do_not():
    twice = m.presence([(0, 2), (4, 6)], 7)
    assert twice.tolist() == [True, True, False, False, True, True, False]
    assert not m.presence([], 7).any()
    assert m.t_iou([(0, 2), (4, 6)], (0, 6)) == 1 > m.frame_iou(twice, m.presence([(0, 6)], 7))


def test_frame_rates_and_their_empty_cases():
    true = np.array([0, 1, 1, 0], bool)
    always, never = np.ones(4, bool), np.zeros(4, bool)
    assert (m.presence_rate(always, true), m.absence_rate(always, true)) == (1, 0)
    assert (m.presence_rate(never, true), m.absence_rate(never, true)) == (0, 1)
    assert np.isnan(m.presence_rate(always, never))
    assert np.isnan(m.absence_rate(always, always))
    assert (m.frame_iou(never, never), m.frame_iou(always, true)) == (1, 0.5)


def test_rates_over_subjects():
    assert m.detection_rate([(0, 1), None, [], (3, 4)]) == 0.5
    assert m.recalls([0.2, 0.3, 0.6, 0.9]) == {0.3: 0.75, 0.5: 0.5, 0.7: 0.25, 0.9: 0.25}
    assert m.always_present([(0, 0.25), (0, 0.75)])["t_iou"] == pytest.approx(0.5)
    assert m.always_present([(0, 4)], 8) == pytest.approx({"t_iou": 0.5, "t_l2": 0.5 / 2**0.5})


def test_bootstrap_resamples_groups_and_leaves_nan_out():
    rng = np.random.default_rng(0)
    per_group = rng.normal(size=60)
    values, groups = np.repeat(per_group, 4), np.repeat(np.arange(60), 4)
    low, high = m.bootstrap_ci(values, groups)
    assert low < values.mean() < high
    alone = np.subtract(*m.bootstrap_ci(values, np.arange(240))[::-1])
    assert high - low > 1.6 * alone  # copies of a value are no further evidence
    assert m.bootstrap_ci(values, groups) == (low, high)
    assert m.bootstrap_ci([1.0, np.nan], ["a", "b"]) == (1.0, 1.0)
    assert np.isnan(m.bootstrap_ci([np.nan], ["a"])).all()
    with pytest.raises(ValueError, match="groups"):
        m.bootstrap_ci([1.0], [])


def test_correlation():
    assert m.correlation([0, 1, 2], [1, 3, 5]) == pytest.approx(1)
    assert np.isnan(m.correlation([0, 1, 2], [1, 1, 1]))
