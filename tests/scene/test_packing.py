"""Scenes as rows: slots, gaps between events, padding; one rule for what is used."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import alchemint_jax
from alchemint_jax.errors import DataError
from alchemint_jax.scene import Clock, Event, Scene, Spans, Subject, pack, pack_events
from alchemint_jax.scene.packing import event_rows, pad_spans

FRAMES = 33
SPANS = st.tuples(st.integers(0, FRAMES - 1), st.integers(1, FRAMES)).filter(lambda s: s[0] < s[1])
EVENTS = st.lists(st.tuples(st.sampled_from(["it stops", "it turns red"]), SPANS), max_size=5)


def scene(*subjects, events=(), frames=FRAMES) -> Scene:
    """Of subjects (word, rows), and events (text, row)."""
    return Scene(
        "clip",
        "a caption",
        Clock(8.0, frames, 4),
        tuple(
            Subject(word, Spans(rows), np.full((1, 2, 2, 3), i, np.uint8))
            for i, (word, rows) in enumerate(subjects)
        ),
        tuple(Event(text, Spans([row])) for text, row in events),
    )


def test_subjects_sit_in_slots_and_the_rest_is_padding():
    one = scene(("disc", [(4, 9), (0, 2)]), ("star", [(1, 2)]))
    found = pack([one, scene()], slots=3)
    np.testing.assert_array_equal(
        found.intervals[0], [[[0, 2], [4, 9]], [[1, 2], [0, 0]], [[0, 0], [0, 0]]]
    )
    assert found.intervals.dtype == np.int32 and not found.intervals[1].any()
    np.testing.assert_array_equal(found.used, [[True, True, False], [False] * 3])
    assert found.words == [["disc", "star", ""], [""] * 3]
    white = np.full((2, 2, 3), 255, np.uint8)
    pictures = found.fill(lambda subject: subject.picture((2, 2)), white)
    assert pictures.shape == (2, 3, 2, 2, 3)
    np.testing.assert_array_equal(pictures[0, :, 0, 0, 0], [0, 1, 255])
    assert (pictures[1] == 255).all()


def test_a_subject_that_is_never_there_is_not_used():
    """The rule of training and of generation: both ask `pack`."""
    absent = scene(("disc", []), ("star", [(1, 2)]))
    found = pack([absent], 2)
    assert found.used.tolist() == [[False, True]] and found.words == [["", "star"]]
    assert found.subjects[0][0] is None
    np.testing.assert_array_equal(found.used, (found.intervals[..., 1] > 0).any(-1))


def test_places_seat_subjects():
    one = scene(("disc", [(0, 2)]), ("star", [(1, 3)]))
    found = pack([one], 3, places=[np.array([2, 1, 0])])
    assert found.words == [["", "star", "disc"]]
    np.testing.assert_array_equal(found.intervals[0, :, 0], [[0, 0], [1, 3], [0, 2]])


def test_rows_are_as_many_as_are_needed_or_wanted():
    one = scene(("disc", [(0, 1), (2, 3), (4, 5)]))
    assert pack([one], 1).intervals.shape == (1, 1, 3, 2)
    assert pack([scene(("disc", [(0, 1)]))], 1).intervals.shape == (1, 1, 2, 2)
    np.testing.assert_array_equal(pack([one], 1, most=2).intervals[0, 0], [[0, 1], [2, 5]])
    assert pack([], 2).intervals.shape == (0, 2, 2, 2)
    assert pack([scene()], 0).used.shape == (1, 0)  # a model of text alone
    assert pack([one], 1, places=[[5]]).used.tolist() == [[False]]
    with pytest.raises(DataError, match="clip: subjects: 1 are too many; there are 0 slots"):
        pack([one], 0)


@given(st.lists(st.lists(SPANS, max_size=2), max_size=3))
def test_rows_are_read_back(drawn):
    rows = [Spans(row) for row in drawn]
    assert [Spans(row) for row in pad_spans(rows, 3, 2)[: len(rows)]] == rows


@given(EVENTS)
def test_every_frame_is_in_a_row_and_no_gap_is_in_an_event(events):
    found = pack_events([scene(events=events)], event_rows(len(events)))
    rows = [row for row, used in zip(found.intervals[0], found.used[0], strict=True) if used]
    said = np.zeros(FRAMES, int)
    for _, (start, end) in events:
        said[start:end] += 1
    quiet = np.zeros(FRAMES, int)
    texts = found.texts[0][: len(rows)]
    for text, (start, end) in zip(texts, rows, strict=True):
        quiet[start:end] += not text
    np.testing.assert_array_equal(quiet, said == 0)
    told = [(t, tuple(row.tolist())) for t, row in zip(texts, rows, strict=True) if t]
    assert sorted(told) == sorted(events)
    assert [row[0] for row in rows] == sorted(row[0] for row in rows)


def test_events_that_start_together_keep_their_order():
    events = [("later", (8, 12)), ("b", (4, 6)), ("a", (4, 8)), ("c", (4, 6))]
    found = pack_events([scene(events=events, frames=17)])
    assert found.texts[0] == ["", "b", "a", "c", "later", "", "", ""]


def test_rows_of_events_that_are_not_used_are_empty():
    one = scene(events=[("it stops", (0, 5))], frames=9)
    found = pack_events([one, scene(frames=9)], 4)
    assert found.texts == [["it stops", "", "", ""], [""] * 4]
    np.testing.assert_array_equal(found.intervals[0], [[0, 5], [5, 9], [0, 0], [0, 0]])
    np.testing.assert_array_equal(found.intervals[1], [[0, 9], [0, 0], [0, 0], [0, 0]])
    assert found.intervals.dtype == np.int32 and found.used.sum() == 3
    with pytest.raises(DataError, match="2 rows of events, not 1"):
        pack_events([one], 1)


def test_few_numbers_of_rows_are_made():
    counts = {}
    for n in range(10):
        events = [("x", (3 * i + 1, 3 * i + 2)) for i in range(n)]
        counts[n] = pack_events([scene(events=events)]).used.shape[1]
    assert set(counts.values()) == {8, 16, 32} and counts[0] == counts[3] == 8


MAKES = re.compile(r"\bnp\.(?:zeros|ones|full|empty)\(\(.*\b2\), .*\bint32\)")


def test_nothing_else_makes_rows_of_frames():
    package = Path(alchemint_jax.__file__).parent
    texts = {path.relative_to(package): path.read_text("utf-8") for path in package.rglob("*.py")}
    found = {str(path): MAKES.findall(text) for path, text in texts.items()}
    assert {path for path, rows in found.items() if rows} == {"scene/packing.py"}
    assert len(found["scene/packing.py"]) == 3
