from __future__ import annotations

import copy
import json
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alchemint_jax.scene import Spans

ROWS = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=6)


def covered(rows) -> set[int]:
    return {frame for start, end in rows for frame in range(start, end)}


@given(ROWS)
def test_the_same_frames_are_covered_once_in_order(rows):
    spans = Spans(rows)
    assert [f for s, e in spans for f in range(s, e)] == sorted(covered(rows))
    assert all(a[1] < b[0] for a, b in zip(spans, spans[1:], strict=False))
    assert bool(spans) == bool(covered(rows))


@given(ROWS)
def test_gaps_are_the_other_frames(rows):
    assert covered(Spans(rows).gaps(30)) == set(range(30)) - covered(rows)


@pytest.mark.parametrize(
    "text", ["", "0", "1", "0110", "1001", "111", "0101011"], ids=lambda t: t or "-"
)
def test_spans_where_something_is_so(text):
    present = np.array([c == "1" for c in text], bool)
    spans = Spans.where(present)
    assert covered(spans) == set(np.flatnonzero(present).tolist())
    assert all(type(edge) is int for span in spans for edge in span)


def test_they_are_tuples_of_pairs_of_pythons_numbers():
    spans = Spans(np.array([[4, 7], [0, 0], [1, 2]], np.int32))  # padded, as records are
    assert spans == ((1, 2), (4, 7)) and hash(spans) == hash(((1, 2), (4, 7)))
    assert json.dumps(spans) == "[[1, 2], [4, 7]]"
    for same in (pickle.loads(pickle.dumps(spans)), copy.deepcopy(spans), Spans(spans)):
        assert same == spans and isinstance(same, Spans)
    assert Spans([(0.5, 1.25), (1.25, 2.0)]) == ((0.5, 2.0),)
    assert not Spans() and Spans() == ()
