"""Events as rows: gaps have rows of their own, padding none, and order is that of time."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alchemint_jax.events import pad_events, rows_for, with_gaps

FRAMES = 33
SPANS = st.tuples(st.integers(0, FRAMES - 1), st.integers(1, FRAMES)).filter(lambda s: s[0] < s[1])
EVENTS = st.lists(st.tuples(st.sampled_from(["it stops", "it turns red"]), SPANS), max_size=5)


@given(EVENTS)
def test_every_frame_is_in_a_row_and_no_gap_is_in_an_event(events):
    rows = with_gaps(events, FRAMES)
    said = np.zeros(FRAMES, int)
    for _, (start, end) in events:
        said[start:end] += 1
    quiet = np.zeros(FRAMES, int)
    for text, (start, end) in rows:
        quiet[start:end] += not text
    np.testing.assert_array_equal(quiet, said == 0)
    assert sorted(row for row in rows if row[0]) == sorted(events)
    assert [span[0] for _, span in rows] == sorted(span[0] for _, span in rows)
    assert len(rows) <= rows_for(len(events))


def test_events_that_start_together_keep_their_order():
    events = [("later", (8, 12)), ("b", (4, 6)), ("a", (4, 8)), ("c", (4, 6))]
    assert [text for text, _ in with_gaps(events, 16)] == ["", "b", "a", "c", "later", ""]


def test_rows_that_are_not_used_are_empty():
    texts, frames = pad_events([("it stops", (0, 5))], 9, 4)
    assert texts == ["it stops", "", "", ""]
    np.testing.assert_array_equal(frames, [[0, 5], [5, 9], [0, 0], [0, 0]])
    assert frames.dtype == np.int32
    with pytest.raises(ValueError, match="2 rows of events, not 1"):
        pad_events([("it stops", (0, 5))], 9, 1)
