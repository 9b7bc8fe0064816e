from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from alchemint_jax import evaluate
from alchemint_jax.evaluate.boundaries import summary
from alchemint_jax.scene import Spans

runs = st.lists(
    st.tuples(st.integers(0, 40), st.integers(1, 12)).map(lambda p: (p[0], p[0] + p[1])), max_size=4
)


@pytest.mark.parametrize(
    ("shown", "asked", "starts", "ends"),
    [
        ([(4, 9)], [(4, 9)], [0], [0]),
        ([(6, 8)], [(4, 9)], [2], [-1]),
        ([(0, 20)], [(4, 9)], [-4], [11]),  # always there
        ([], [(4, 9)], [], []),  # missed: no error
        ([(4, 9)], [], [], []),  # one too many
        ([(4, 5)], [(4, 9)], [0], [-4]),  # one frame
        ([(4, 6), (7, 9)], [(4, 9)], [0], [0]),  # flicker inside
        ([(12, 15)], [(4, 9)], [8], [6]),  # nothing overlaps: the nearest that is free
        ([(9, 12)], [(4, 9)], [5], [3]),  # half-open: touching is not overlapping
        ([(1, 3), (11, 14)], [(0, 4), (10, 14)], [1, 1], [-1, 0]),  # one by one
        ([(0, 14)], [(0, 4), (10, 14)], [0], [0]),  # the gap is not seen: `frame_iou` minds it
        ([(1, 3)], [(0, 4), (10, 14)], [1], [-1]),  # the second was missed
        ([(0, 4), (20, 22)], [(0, 4)], [0], [0]),  # a flash elsewhere does not count
        ([(0, 4), (20, 22)], [(0, 4), (9, 12)], [0, 11], [0, 10]),
        ([(8, 18), (22, 32)], [(0, 10), (14, 24)], [8], [8]),  # all of it is late by 8
    ],
)
def test_errors_by_hand(shown, asked, starts, ends):
    assert evaluate.boundary_errors(shown, asked) == (starts, ends)


def test_errors_are_seconds():
    assert evaluate.boundary_errors([(6, 8)], [(4, 9)], fps=4) == ([0.5], [-0.25])
    with pytest.raises(ValueError, match="fps"):
        evaluate.boundary_errors([], [], fps=0)


@example([(5, 17), (40, 41)], [(25, 32)])
@given(runs, runs)
def test_errors_change_sign_with_what_is_asked_and_with_time(shown, asked):
    shown, asked = Spans(shown), Spans(asked)
    starts, ends = evaluate.boundary_errors(shown, asked)
    assert len(starts) == len(ends) <= min(len(shown), len(asked))
    if shown and asked:  # something is always matched
        assert starts
    swapped = evaluate.boundary_errors(asked, shown)
    assert sorted(swapped[0]) == sorted(-x for x in starts)
    back = [Spans((60 - e, 60 - s) for s, e in some) for some in (shown, asked)]
    reversed_ = evaluate.boundary_errors(*back)
    apart = [max(s, a) - min(e, z) for s, e in shown for a, z in asked]
    if len(set(apart)) == len(apart):  # of what lies equally far away, the earlier one is matched
        assert sorted(reversed_[1]) == sorted(-x for x in starts)
        assert sorted(reversed_[0]) == sorted(-x for x in ends)


@given(runs, st.integers(1, 30))
def test_what_is_late_is_late_by_as_much(asked, by):
    asked = Spans(asked)
    late = [(s + by, e + by) for s, e in asked]
    starts, ends = evaluate.boundary_errors(late, asked)
    if len(asked) == 1:
        assert (starts, ends) == ([by], [by])
    assert evaluate.boundary_errors(asked, asked) == ([0] * len(asked), [0] * len(asked))


def test_summaries():
    found = summary([[-1.0, 3.0], [], [0.0]])
    assert found == {"errors": 3, "bias": 2 / 3, "median": 1.0, "p90": pytest.approx(2.6)}
    assert summary([])["errors"] == 0 and np.isnan(summary([[]])["bias"])
