"""Who was hardly detected is followed to the frame, and for as long as it is recognised."""

from __future__ import annotations

import numpy as np
import pytest

from alchemint_jax.annotate.tracks import Seen
from alchemint_jax.evaluate.faint import expected, followed
from alchemint_jax.scene import Spans


def seen(frame, score=0.2, left=30.0):
    return Seen(frame, np.array([left, 10.0, left + 10, 30.0]), score, "dog")


def spans(runs, shown, found=None, frames=40, patience=2, like=()):
    """What is followed, where it is recognised in the frames `shown` and something is like it in
    others; and the frames that were looked at."""
    looked = []

    def look(known, frame, boxes):
        assert frame not in known and len(boxes) == 2
        looked.append(frame)
        return (seen(frame), frame in shown) if frame in {*shown, *like} else None

    there = np.zeros(frames, bool)
    for start, end in runs:
        there[start:end] = True
    every = [seen(f) for f in np.flatnonzero(there).tolist()] if found is None else found
    more = followed(there, every, sure=0.5, recent=20, patience=patience, look=look)
    there[[one.frame for one in more]] = True
    return tuple(Spans.where(there)), looked


@pytest.mark.parametrize(("shown", "end"), [(range(40), 40), (range(21), 21), (range(10), 10)])
def test_it_is_followed_to_the_frame_at_both_ends(shown, end):
    assert spans([(0, 10)], shown)[0] == ((0, end),)
    assert spans([(30, 40)], [39 - f for f in shown])[0] == ((40 - end, 40),)


def test_the_first_frame_must_show_it_and_then_one_in_so_many():
    assert spans([(0, 10)], range(11, 40)) == (((0, 10),), [10])  # one look, and no more
    shown = [10, 11, 14, 18]
    assert spans([(0, 10)], shown)[0] == ((0, 12), (14, 15))  # two are missing, and then three
    assert spans([(0, 10)], shown)[1] == [*range(10, 18)]


def test_a_gap_is_followed_from_both_sides():
    runs = [(0, 10), (20, 40)]
    assert spans(runs, range(40)) == (((0, 40),), [*range(10, 20)])
    assert spans(runs, [10, 11, 18, 19])[0] == ((0, 12), (18, 40))
    assert spans(runs, [])[0] == tuple(runs)


def test_what_is_like_it_counts_only_on_the_way_to_where_it_is_known():
    runs = [(0, 10), (20, 40)]
    assert spans(runs, [10], like=range(11, 20))[0] == ((0, 40),)
    assert spans(runs, [10, 14], like=range(10, 16))[0] == ((0, 15), (20, 40))
    assert spans(runs, [], like=range(10, 20))[0] == tuple(runs)  # it is not recognised at first
    assert spans([(0, 10)], [10, 12], like=range(10, 40))[0] == ((0, 13),)  # the clip ends
    # What is left out is shorter than it may be unrecognisable.
    assert spans(runs, [10], like=range(11, 18))[0] == ((0, 18), (20, 40))


def test_who_was_surely_seen_is_gone_where_it_is_not_detected():
    sure = [seen(frame, 0.9) for frame in range(10)]
    assert spans([(0, 10)], range(40), sure) == (((0, 10),), [])
    mixed = [seen(frame, 0.2) for frame in range(5)] + [seen(frame, 0.9) for frame in range(5, 10)]
    assert spans([(0, 10)], range(40), mixed)[1] == []  # 0.55 in the mean
    few = [seen(3), seen(9)]
    assert spans([(0, 10)], range(40), few) == (((0, 10),), [])
    assert spans([], range(40), few) == ((), [])


def test_it_is_expected_where_it_goes_or_was():
    known = {f: seen(f, left=2.0 * f) for f in range(0, 9, 2)}
    goes, stays = expected(known, 11)
    assert np.array_equal(stays, known[8].box)
    assert goes == pytest.approx([22, 10, 32, 30])
    assert expected(known, -3)[0] == pytest.approx([-6, 10, 4, 30])  # backwards in time, too
