from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alchemint_jax import evaluate

NAN = np.nan
ASKED = np.array([True, True, False, False])


@pytest.mark.parametrize(
    ("own", "inside", "leak"),
    [
        ([0.8, 0.6, NAN, NAN], 0.7, 0.0),
        ([0.8, NAN, NAN, NAN], 0.4, 0.0),  # missing counts 0
        ([NAN, NAN, 0.8, 0.4], 0.0, 0.6),  # at the wrong time
        ([1.0, 1.0, 1.0, 1.0], 1.0, 1.0),  # always there
        ([NAN, NAN, NAN, NAN], 0.0, 0.0),  # never there
    ],
)
def test_inside_and_leak_by_hand(own, inside, leak):
    likeness = np.array(own)[:, None]
    assert evaluate.identity_inside(likeness, 0, ASKED) == pytest.approx(inside)
    assert evaluate.leak(likeness, 0, ASKED) == pytest.approx(leak)


def test_confusion_by_hand():
    likeness = np.array([[0.9, 0.2], [0.5, 0.6], [NAN, NAN], [0.5, 0.5]])
    assert evaluate.confusion(likeness, 0) == pytest.approx(1 / 3)
    assert evaluate.confusion(likeness, 1) == pytest.approx(1 / 3)
    assert np.isnan(evaluate.confusion(likeness[:, :1], 0))  # nobody to be confused with
    assert np.isnan(evaluate.confusion(np.full((3, 2), NAN), 0))  # never seen


def test_what_nothing_can_be_said_of_is_not_known():
    likeness = np.ones((4, 1))
    assert np.isnan(evaluate.identity_inside(likeness, 0, np.zeros(4, bool)))
    assert np.isnan(evaluate.leak(likeness, 0, np.ones(4, bool)))


@given(st.lists(st.one_of(st.just(NAN), st.floats(0, 1)), min_size=4, max_size=4), st.randoms())
def test_the_order_of_frames_does_not_matter(own, random):
    likeness, order = np.array(own)[:, None], random.sample(range(4), 4)
    for figure in (evaluate.identity_inside, evaluate.leak):
        mixed = figure(likeness[order], 0, ASKED[order])
        assert mixed == pytest.approx(figure(likeness, 0, ASKED))
    two = np.concatenate([likeness, 1 - likeness], 1)
    confused = evaluate.confusion(two[order], 0)
    assert confused == pytest.approx(evaluate.confusion(two, 0), nan_ok=True)
