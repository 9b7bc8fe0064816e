"""Who is the same from one frame to the next, at the ends of tracks, and after an absence."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alchemint_jax.annotate import borders, ends, follow, tracks
from alchemint_jax.annotate.settings import Presence
from alchemint_jax.annotate.settings import Track as Settings
from alchemint_jax.annotate.stages.spans import curve, hysteresis, spans
from alchemint_jax.annotate.tracks import Seen, Track


def seen(frame, left, top=10.0, side=20.0, score=0.9, word="dog"):
    return Seen(frame, np.array([left, top, left + side, top + side]), score, word)


def kind(word):
    return "vehicle" if word == "car" else "animal"


def associate(frames, found, **changed):
    options = {"start": 0.5, "overlap": 0.2, "patience": 12, **changed}
    return tracks.associate(frames, found, kind, **options)


def test_two_that_cross_keep_their_tracks():
    frames = list(range(0, 60, 3))
    found = [seen(f, 2.0 * f) for f in frames] + [seen(f, 120 - 2.0 * f, top=18) for f in frames]
    pair = associate(frames, found)
    assert len(pair) == 2
    for track in pair:
        steps = np.diff([one.box[0] for one in track.seen])
        assert (steps > 0).all() or (steps < 0).all()


def test_unsure_detections_go_on_with_a_track_but_begin_none():
    frames = list(range(0, 30, 3))
    scores = [0.1, 0.2, 0.9, 0.1, 0.1, 0.8, 0.2, 0.1, 0.1, 0.1]
    found = [seen(f, 1.0 * f, score=s) for f, s in zip(frames, scores, strict=True)]
    (track,) = associate(frames, found)
    assert [one.frame for one in track.seen] == frames
    assert not associate(frames, [seen(f, 1.0 * f, score=0.2) for f in frames])


def test_a_short_gap_is_one_track_and_a_long_one_two():
    frames = list(range(0, 60, 3))
    found = [seen(f, 30.0) for f in frames if not 15 <= f < 24]
    assert len(associate(frames, found)) == 1
    assert len(associate(frames, found, patience=6)) == 2


def test_a_fast_one_is_followed_where_its_boxes_do_not_overlap():
    frames = list(range(0, 24, 3))
    found = [seen(f, 4.0 * f + 0.3 * f**1.5) for f in frames]
    assert len(associate(frames, found)) == 1


def test_another_name_now_and_then_is_no_other_thing():
    frames = list(range(0, 30, 3))
    found = [seen(f, 1.0 * f, word="cat" if f in (9, 12) else "dog") for f in frames]
    (track,) = associate(frames, found)
    assert track.word() == "dog" and track.word({"cat"}.__contains__) is None
    found = [seen(f, 1.0 * f, word="car" if f % 2 else "dog") for f in frames]
    (track,) = associate(frames, found)
    assert track.word({"car"}.__contains__) == "car"  # as often as not


class Looking:
    """Says of each frame what is in it, and remembers which frames it was shown."""

    def __init__(self, there):
        self.there, self.frames = there, []

    def __call__(self, frames):
        for number, image in frames:
            assert image == number
            self.frames.append(number)
            yield from self.there(number)


def refined(track, searched, there):
    edges, look = ends.find([track], searched), Looking(there)
    passing = [(f, np.array(f)) for f in sorted({f for end in edges for f in end.between})]
    (better,), (missed,) = ends.refine([track], edges, searched, passing, look, kind, 0.2)
    return better, missed, look.frames


@given(st.integers(1, 9), st.integers(0, 50), st.integers(0, 50))
def test_ends_are_found_to_the_frame_in_few_looks(step, start, length):
    searched = [*range(0, 120, step)]

    def there(f):
        return [seen(f, 300.0), *([seen(f, 2.0 * f)] if start <= f <= start + length else [])]

    found = [seen(f, 2.0 * f) for f in searched if start <= f <= start + length]
    if not found:
        return
    better, missed, looks = refined(Track(found), searched, there)
    assert (better.first, better.last) == (start, start + length)
    assert not {*missed} & {one.frame for one in better.seen} and not {*looks} & {*searched}
    assert len(looks) <= 2 * int(np.ceil(np.log2(step)))


def test_ends_of_many_gaps_are_found_with_few_frames_in_memory():
    searched = [*range(0, 400, 5)]
    on = lambda f: f % 20 < 12  # noqa: E731
    track = Track([seen(f, 10.0) for f in searched if on(f)])
    better, missed, _ = refined(track, searched, lambda f: [seen(f, 10.0)] if on(f) else [])
    assert len(ends.find([track], searched)) > 2 * ends._TOGETHER
    known = {one.frame for one in better.seen}
    assert all(f in known for f in range(0, 400) if f % 20 == 11) and all(map(on, known))
    assert all(f in missed for f in range(0, 395) if f % 20 == 12)


def test_what_is_in_the_place_of_one_that_has_gone_is_not_it():
    frames = list(range(0, 40, 4))
    (track,) = associate(frames, [seen(f, 10.0) for f in frames if f <= 24])
    known = {one.frame: one for one in track.seen}

    def goes_on(left, word):
        return tracks.goes_on(known, 25, [seen(25, left, word=word)], kind, 0.2) is not None

    assert goes_on(28.0, "dog") and not goes_on(28.0, "cat")
    assert goes_on(22.0, "cat") and not goes_on(22.0, "car")
    assert goes_on(12.0, "car")  # in the same place it is the same thing under another name
    assert tracks.goes_on(known, 25, [], kind, 0.2) is None


@pytest.mark.parametrize(
    ("scores", "side", "solid"),
    [
        ([0.2, 0.5, 0.2], 20, True),
        ([0.4, 0.49, 0.4], 20, False),
        ([0.4, 0.49, 0.4], 70, True),  # 49 % of the frame
        ([0.4, 0.49, 0.4], 60, False),
        ([0.3, 0.45, 0.25], 70, False),
        ([0.9], 70, False),
    ],
)
def test_who_fills_the_frame_may_be_less_sure_all_the_time(scores, side, solid):
    frames = [seen(6 * i, 0.0, 0.0, side, score) for i, score in enumerate(scores)]
    assert follow.solid(Track(frames), Settings(), 9, 100 * 100) is solid
    assert not follow.solid(Track(frames), Settings(), 13, 100 * 100)


def test_a_part_of_a_longer_track_is_none():
    whole = Track([seen(f, 10.0, side=60.0) for f in range(10)])
    part = Track([seen(f, 20.0, top=20.0) for f in range(6)])
    other = Track([seen(f, 90.0) for f in range(6)])
    assert tracks.without_parts([whole, part, other], lambda a, b: True) == [whole, other]
    assert len(tracks.without_parts([whole, part], lambda a, b: False)) == 2


def test_who_returns_is_the_same_and_two_that_meet_are_two():
    first = Track([seen(f, 0.0) for f in range(5)])
    back = Track([seen(f, 50.0) for f in range(20, 25)])
    beside = Track([seen(f, 100.0) for f in range(3, 25)])
    every = [first, back, beside]
    alike = np.array([[1, 0.8, 0.9], [0.8, 1, 0.9], [0.9, 0.9, 1]])
    same = lambda a, b: True  # noqa: E731
    assert tracks.identities(every, alike, 0.7, same) == [[0, 1], [2]]
    assert tracks.identities(every, alike, 0.85, same) == [[0], [1], [2]]
    assert tracks.identities(every, alike, 0.7, lambda a, b: False) == [[0], [1], [2]]
    # Each is like the next one, and the first is not like the last: one does not follow from it.
    row = [Track([seen(f, 0.0) for f in range(20 * i, 20 * i + 5)]) for i in range(3)]
    alike = np.array([[1, 0.9, 0.5], [0.9, 1, 0.88], [0.5, 0.88, 1]])
    assert tracks.identities(row, alike, 0.85, same) == [[0, 1], [2]]
    assert tracks.identities(row, alike, 0.69, same) == [[0, 1, 2]]
    assert tracks.identities([], np.zeros((0, 0)), 0.5, same) == []


def test_a_double_of_one_track_does_not_divide_the_others():
    spans = [(0, 30), (20, 35), (50, 70), (80, 99), (110, 130)]  # the second is of the first, too
    every = [Track([seen(f, 0.0) for f in range(*span)]) for span in spans]
    same = lambda a, b: True  # noqa: E731
    alike = np.full((5, 5), 0.9) + 0.1 * np.eye(5)
    alike[1, 2:4] = alike[2:4, 1] = 0.91  # a little more like the double
    alike[2, 3] = alike[3, 2] = 0.92
    assert tracks.identities(every, alike, 0.85, same) == [[0], [1, 2, 3, 4]]
    alike[0, 4] = alike[4, 0] = 0.97  # two who are alike, and differ by more than that, stay two
    assert tracks.identities(every, alike, 0.85, same) == [[0, 4], [1, 2, 3]]


def test_who_is_lost_inside_goes_on_and_who_leaves_makes_room_for_the_next():
    def near(first, second, soon=10):
        pair = [Track([first]), Track([second])]
        return tracks.continued(pair, soon, (60, 100))[0, 1]

    assert near(seen(5, 30.0), seen(12, 35.0)) == 1
    assert near(seen(5, 30.0), seen(16, 35.0)) == 0  # later than that
    assert near(seen(5, 30.0), seen(12, 60.0)) == 0  # elsewhere
    assert near(seen(5, 79.0), seen(12, 75.0)) == 0  # it had reached the border
    assert near(seen(5, 30.0), seen(12, 0.0, side=40.0)) == 0  # this one comes from there


def leaving(speed, first=0, count=12, width=100):
    """A square that was last detected when a part of it was cut off already."""
    return [
        Seen(f, np.array([x, 10.0, min(x + 20.0, width), 30.0]), 0.9, "dog")
        for f in range(first, first + count)
        if (x := speed * f) + 14 <= width
    ]


def strips(way, shows, count, ground=100, shake=0):
    """What the strip looks like, where `shows` says how much of it the subject covers."""
    rng = np.random.default_rng(0)
    left, top, right, bottom = way.strip
    found = []
    for frame in way.frames(count):
        strip = np.full((bottom - top, right - left, 3), ground, np.uint8)
        strip[:, : round(shows(frame) * (right - left))] = 220
        strip = strip + rng.integers(0, shake + 1, strip.shape).astype(np.uint8)
        found.append(strip)
    return found


@pytest.mark.parametrize("step", [1, -1])
def test_an_exit_is_found_to_the_frame_where_the_camera_rests(step):
    there = [one for one in leaving(8.0)]
    if step < 0:  # the same, backwards in time
        there = [Seen(40 - one.frame, one.box, one.score, one.word) for one in there[::-1]]
    way = borders.find_exit(there, (60, 100), step, 30, 9)
    assert way is not None and way.step == step and way.strip[2] == 100
    last = (13, 27)[step < 0]  # it leaves a little later than its speed says

    def shows(frame):
        return 0.5 if step * frame <= step * last else 0.0

    assert borders.last_frame(way, strips(way, shows, 60, shake=3), 3) == last
    # Where everything moves, it is as its speed says, but for not longer than `rest`.
    noise = strips(way, shows, 60, shake=120)
    assert abs(borders.last_frame(way, noise, 3) - way.frame) <= 3


def test_who_stays_or_ends_inside_does_not_leave():
    assert borders.find_exit([seen(f, 40.0) for f in range(9)], (60, 100), 1, 30, 9) is None
    assert borders.find_exit([seen(f, 2.0 * f) for f in range(9)], (60, 400), 1, 30, 9) is None
    assert borders.find_exit(leaving(8.0), (60, 100), 1, 1, 9) is None  # that would take too long
    assert borders.find_exit(leaving(8.0)[:2], (60, 100), 1, 30, 9) is None


def test_a_clip_that_ends_before_the_exit():
    way = borders.find_exit(leaving(8.0), (60, 100), 1, 30, 9)
    left = strips(way, lambda frame: 0.5, way.frame + 2)
    assert borders.last_frame(way, left, 3) == way.frame + 1
    # It moves on by 8 pixels a frame, as it did, for nobody saw it leave.
    count = way.frame + 2
    box = leaving(8.0)[-1].box
    ((frame, moved),) = way.boxes(box, way.frame + 1, count, (60, 100)).items()
    expected = box[0] + (100 - box[0]) / way.gone
    assert frame == count - 1 and moved[0] == expected and moved[2] <= 100


@pytest.mark.parametrize("step", [1, -1])
@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("towards", [1, -1])
def test_the_box_of_who_leaves_goes_out_with_it(step, axis, towards):
    """In a frame of 100 by 100: 20 pixels from the border and 20 long, it is gone 4 frames on."""
    low, high = (60.0, 80.0) if towards > 0 else (20.0, 40.0)
    box = np.array([0.0, 0.0, 50.0, 50.0])
    box[[axis, axis + 2]] = low, high
    way = borders.Exit(20, step, 4, (0, 0, 1, 1), axis, 100 if towards > 0 else 0)
    boxes = way.boxes(box, 20 + 3 * step, 60, (100, 100))
    assert list(boxes) == [20 + step * k for k in (1, 2, 3)]
    sides = [tuple(one[[axis, axis + 2]]) for one in boxes.values()]
    there = [(70, 90), (80, 100), (90, 100)]
    assert sides == (there if towards > 0 else [(100 - b, 100 - a) for a, b in there])
    across = np.stack(list(boxes.values()))[:, [1 - axis, 3 - axis]]
    assert (across == [0, 50]).all()
    assert way.boxes(box, 20, 60, (100, 100)) == {}


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.sampled_from([0.0, 0.05, 0.2, 0.6]), min_size=1, max_size=40),
    st.integers(1, 4),
    st.integers(1, 4),
)
def test_hysteresis(scores, gap, least):
    scores = np.array(scores)
    runs = hysteresis(scores, 0.5, 0.1, lambda end, start: start - end < gap, least)
    for start, end in runs:
        assert scores[start:end].max() >= 0.5 and end - start >= least
        assert scores[start] >= 0.1 and scores[end - 1] >= 0.1
    for (_, end), (start, _) in zip(runs, runs[1:], strict=False):
        assert start - end >= gap
    kept = np.zeros(len(scores), bool)
    for start, end in runs:
        kept[start:end] = True
    if least == 1:
        assert kept[scores >= 0.5].all()


def test_a_score_between_searched_frames_needs_both():
    subject = {
        "seen": [[4, 0, 0, 1, 1, 0.4], [8, 0, 0, 1, 1, 0.8], [20, 0, 0, 1, 1, 0.5]],
        "missed": [0, 12, 16],
    }
    scores = curve(subject, 24)
    assert np.allclose(scores[4:9], [0.4, 0.5, 0.6, 0.7, 0.8])
    assert not scores[:4].any() and not scores[9:20].any() and np.allclose(scores[20:], 0.5)


def seen_by(word, seen, missed):
    return {"word": word, "detected_as": word, "seen": seen, "missed": missed}


def row_of(*subjects, others=(), **fields):
    row = {"fps": 10.0, "frames": 40, "size": [50, 50], "subjects": [*subjects], "dropped": []}
    return {**row, "others": [*others], **fields}


def test_spans_say_whether_their_ends_are_known():
    subject = seen_by("poodle", [[f, 0, 0, 1, 1, 0.9] for f in range(0, 20)], [*range(20, 40)])
    never = seen_by("cat", [[5, 0, 0, 1, 1, 0.9]], [4, 6])
    found = spans(row_of(subject, never), Presence())
    (one,) = found["subjects"]
    aside = spans(row_of(others=[subject, never]), Presence())["others"]
    assert [other["frames"] for other in aside] == [[[0, 20]]]
    assert one["frames"] == [[0, 20]] and one["open_start"] and not one["open_end"]
    assert one["coverage"] == 1.0 and found["dropped"][0]["word"] == "cat"


def test_nobody_leaves_through_the_middle():
    def gap_of(left, top=20.0, end=15, start=25, **changed):
        seen = [[f, 20.0, 20.0, 30.0, 30.0, 0.9] for f in range(end)]
        seen += [[f, left, top, left + 10, top + 10, 0.9] for f in range(start, 40)]
        row = row_of(seen_by("dog", seen, [*range(end, start)]))
        return spans(row, Presence(inside=1.2, **changed))["subjects"][0]["frames"]

    assert gap_of(25.0) == [[0, 40]]
    assert gap_of(38.0) == [[0, 15], [25, 40]]  # somewhere else
    assert gap_of(25.0, top=40.0) == [[0, 15], [25, 40]]  # at the border
    assert gap_of(25.0, start=30) == [[0, 15], [30, 40]]  # for too long


def test_what_stays_unsure_and_does_not_move_is_not_there():
    def frames_of(move, score, length=60, **changed):
        scores = [0.9] * 5 + [score] * (length - 10) + [0.9] * 5
        seen = [[f, 20 + move * f, 20.0, 40 + move * f, 40.0, s] for f, s in enumerate(scores)]
        row = row_of(seen_by("person", seen, []), frames=length, size=[60, 200])
        return spans(row, Presence(least=0.1, **changed))["subjects"][0]["frames"]

    assert frames_of(0.0, 0.2) == [[0, 5], [55, 60]]
    assert frames_of(1.0, 0.2) == [[0, 60]]
    assert frames_of(0.0, 0.4) == [[0, 60]]
    assert frames_of(0.0, 0.2, idle=10.0) == [[0, 60]]
    assert frames_of(0.0, 0.2, length=35) == [[0, 35]]  # not for long enough
