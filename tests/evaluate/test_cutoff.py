"""Who is cut off by the border is followed for as long as its place shows it."""

from __future__ import annotations

import numpy as np
import pytest

from alchemint_jax.annotate.tracks import Seen
from alchemint_jax.evaluate.cutoff import followed
from alchemint_jax.scene import Spans

SIZE = (40, 80)


def seen(frame, left=70.0):
    return Seen(frame, np.array([left, 10.0, left + 10, 30.0]), 0.9, "dog")


def still(start, end, left=70.0):
    return [seen(frame, left) for frame in range(start, end, 3)] + [seen(end - 1, left)]


def spans(runs, found, shown, frames=40, most=20, part=4):
    """What is followed, where the frames `shown` show the place of any detection; and where it was
    looked."""
    looked = []

    def shows(one, frame):
        looked.append(frame)
        return frame in shown

    there = np.zeros(frames, bool)
    for start, end in runs:
        there[start:end] = True
    made = followed(there, found, SIZE, most, part, recent=20, leaving=15, shows=shows)
    assert made[there].all()
    return tuple(Spans.where(made)), looked


@pytest.mark.parametrize(
    ("shown", "end"),
    [
        (range(40), 40),  # until the clip ends
        (range(21), 21),  # to the frame
        (range(10), 10),
        ([*range(12), 14, 15], 12),  # what comes back later is not followed
    ],
)
def test_it_is_followed_to_the_frame(shown, end):
    assert spans([(0, 10)], still(0, 10), shown, most=40)[0] == ((0, end),)
    back = [39 - f for f in shown]
    assert spans([(30, 40)], still(30, 40), back, most=40)[0] == ((40 - end, 40),)


def test_a_gap_is_closed_from_either_side():
    runs, found = [(0, 10), (18, 40)], still(0, 10) + still(18, 40)
    assert spans(runs, found, range(40))[0] == ((0, 40),)
    assert spans(runs, found, [*range(13), *range(15, 40)])[0] == ((0, 13), (15, 40))
    one = still(0, 10, 30.0) + still(18, 40)  # only who is at the border is cut off
    assert spans(runs, one, range(12, 40))[0] == ((0, 10), (12, 40))
    assert spans(runs, one, range(40))[0] == ((0, 40),)


def test_it_is_not_followed_for_ever_nor_away_from_the_border():
    assert spans([(10, 20)], still(10, 20), range(40), most=6)[0] == ((4, 26),)
    assert spans([(10, 20)], still(10, 20, 30.0), range(40)) == (((10, 20),), [])
    assert spans([(0, 40)], still(0, 40), range(40)) == (((0, 40),), [])
    assert spans([], [seen(9)], range(40)) == ((), [])


def test_few_frames_are_looked_at():
    _, looked = spans([(0, 10)], still(0, 10), range(10))
    assert looked == [13, 10]  # the last one of a part, and the next one
    _, looked = spans([(0, 10)], still(0, 10), range(12))
    assert looked == [13, 10, 11, 12]
    _, looked = spans([(0, 10)], still(0, 10), range(40), most=16)
    assert looked == [13, 17, 21, 25]


def test_who_moves_out_or_in_is_not_followed_nor_who_was_hardly_seen():
    out = [seen(frame, 30.0 + 5 * frame) for frame in range(0, 10, 3)]  # to the border at frame 8
    assert spans([(0, 10)], out, range(40)) == (((0, 10),), [])
    back = [seen(frame, 30.0 + 5 * (39 - frame)) for frame in range(30, 40, 3)]
    assert spans([(30, 40)], back, range(40))[0] == ((30, 40),)
    assert spans([(0, 10)], [seen(3), seen(9)], range(40)) == (((0, 10),), [])
    slowly = [seen(frame, 68.0 + 0.2 * frame) for frame in range(0, 11, 3)]  # would take 50 frames
    assert spans([(0, 10)], slowly, range(20))[0] == ((0, 20),)
    comes = [seen(frame, 78.0 - 4 * frame) for frame in range(0, 10, 3)]  # and stays away from it
    assert spans([(0, 10)], comes, range(40)) == (((0, 10),), [])
