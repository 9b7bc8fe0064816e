from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from colored import COLORS, ColorClip, ColorDetector, draw, perceivers, scene

from alchemint_jax.annotate.tracks import Seen
from alchemint_jax.errors import DataError
from alchemint_jax.evaluate import Tracker, perceived, scores
from alchemint_jax.evaluate.perceived import PerceivedTracker
from alchemint_jax.evaluate.proposals import THING, Proposals
from alchemint_jax.perceive import Detections

pytestmark = pytest.mark.slow

TRACKER = PerceivedTracker(perceivers())
FRAMES = 40


def spans(shown, asked=None, words=None, tracker=TRACKER, size=(48, 80)):
    case = scores.untimed(scene(asked or shown, FRAMES, words=words))
    return [one.spans for one in tracker.track(draw(FRAMES, shown, size), case)]


def test_it_is_a_tracker():
    assert isinstance(TRACKER, Tracker)
    TRACKER.check(np.zeros((9, 9, 3), np.uint8))
    with pytest.raises(DataError, match="one colour"):
        TRACKER.check(np.full((9, 9, 3), 255, np.uint8))


@pytest.mark.parametrize(
    "shown",
    [
        {"red": [(8, 31)]},
        {"red": [(0, 40)]},
        {"red": [(3, 12), (25, 37)]},
        {"red": [(5, 22)], "blue": [(17, 40)]},
        {"red": [(5, 22)], "yellow": [(17, 40)]},  # two dogs
    ],
)
def test_what_is_on_screen_is_found_to_the_frame(shown):
    assert spans(shown) == [tuple(some) for some in shown.values()]
    assert spans(shown, size=(96, 160)) == [tuple(some) for some in shown.values()]


def test_subjects_of_one_word_are_told_apart_whatever_their_order():
    shown = {"red": [(5, 22)], "yellow": [(17, 40)]}
    assert spans(shown, {"yellow": [], "red": []}) == [((17, 40),), ((5, 22),)]
    assert spans({"red": [(5, 22)]}, {"yellow": [], "red": []}) == [(), ((5, 22),)]


@pytest.mark.parametrize("start", [20, 23])
def test_one_after_another_in_the_same_place_are_told_apart(start):
    left = {"red": [(5, 20)]}
    right = draw(FRAMES, {"yellow": [(start, 37)]})[:, :, 20:]  # 20 pixels further to the left
    video = draw(FRAMES, left)
    video[start:37, :, :60] = right[start:37]
    case = scores.untimed(scene({"yellow": [], "red": []}, FRAMES))
    yellow, red = TRACKER.track(video, case)
    assert (yellow.spans, red.spans) == (((start, 37),), ((5, 20),))
    assert yellow.identity and red.identity


@pytest.mark.parametrize(
    ("left", "height", "end"),
    [
        (0, 8, 31),  # at the border it is cut off
        (30, 8, 12),  # and in the middle it is another thing
        (0, 0, 12),
    ],
)
def test_who_is_cut_off_is_followed_at_the_border(left, height, end):
    class Choosy(ColorDetector):
        def _frame(self, frame, words):
            found = super()._frame(frame, words)
            tall = found.boxes[:, 3] - found.boxes[:, 1] > 12
            return Detections(found.boxes[tall], found.scores[tall], found.words[tall])

    video = draw(FRAMES, {})
    video[5:12, 16:32, left : left + 12] = COLORS["red"]
    video[12:31, 16 : 16 + height, left : left + 12] = COLORS["red"]
    tracker = PerceivedTracker(perceivers(detector=Choosy()))
    (red,) = tracker.track(video, scores.untimed(scene({"red": []}, FRAMES)))
    assert red.spans == ((5, end),)


@pytest.mark.parametrize(
    ("score", "then", "end"),
    [
        (0.3, None, 27),  # it is hardly detected, and goes on until it is gone
        (0.3, "blue", 27),  # or until somebody else is in its place
        (0.9, None, 15),  # who is surely detected is gone where it is not
    ],
)
@pytest.mark.parametrize("speed", [0, 1])
def test_who_fades_is_followed_while_it_shows(score, then, end, speed):
    """Its track ends with frame 14: at half its opacity it is not detected, but looks the same."""

    class Weak(ColorDetector):
        def _frame(self, frame, words):
            found = super()._frame(frame, words)
            scores = np.full_like(found.scores, score)
            return Detections(found.boxes, scores, found.words)

    video = draw(FRAMES, {})
    for f in range(5, 27):
        opacity, left = (0.6 if f < 15 else 0.5), 8 + speed * f
        mixed = opacity * np.array(COLORS["red"]) + (1 - opacity) * 128
        video[f, 16:32, left : left + 14] = np.rint(mixed)
    if then is not None:
        video[27:, 16:32, 8 + speed * 26 : 22 + speed * 26] = COLORS[then]
    tracker = PerceivedTracker(perceivers(detector=Weak()))
    (red,) = tracker.track(video, scores.untimed(scene({"red": []}, FRAMES)))
    assert red.spans == ((5, end),)
    (left, _, right, _) = red.boxes[end - 1]
    there = 8 + speed * (end - 1)
    assert abs(left - there) <= 4 and abs(right - there - 14) <= 4


def test_the_box_of_who_leaves_goes_out_with_it():
    """It is detected as long as all of it is in the picture."""

    class Whole(ColorDetector):
        def _frame(self, frame, words):
            found = super()._frame(frame, words)
            whole = found.boxes[:, 2] - found.boxes[:, 0] >= 13
            return Detections(found.boxes[whole], found.scores[whole], found.words[whole])

    video = draw(FRAMES, {})
    lefts = {f: 20 + 3 * (f - 2) for f in range(2, 22)}
    for f, left in lefts.items():
        video[f, 16:32, left : left + 14] = COLORS["red"]
    tracker = PerceivedTracker(perceivers(detector=Whole()))
    (red,) = tracker.track(video, scores.untimed(scene({"red": []}, FRAMES)))
    assert red.spans == ((2, 22),)
    expected = np.array([[left, min(left + 14, 80)] for left in lefts.values()])
    assert np.abs(red.boxes[2:22][:, [0, 2]] - expected).max() <= 3


def test_nothing_is_found_of_what_is_not_there():
    assert spans({}, {"red": []}) == [()]
    assert spans({"blue": [(3, 30)]}, {"red": []}) == [()]  # another kind


def test_another_one_of_its_kind_is_seen_for_what_it_is():
    asked = scores.untimed(scene({"yellow": []}, FRAMES))
    (seen,) = TRACKER.track(draw(FRAMES, {"red": [(8, 31)]}), asked)
    assert seen.spans == ((8, 31),) and not seen.identity
    assert str(seen.seen) == "different dog" and 0.3 < seen.figures["likeness"] < 0.5
    (right,) = TRACKER.track(draw(FRAMES, {"yellow": [(8, 31)]}), asked)
    assert right.identity and right.figures["likeness"] > 0.95


def test_likeness_is_by_frame_and_by_reference():
    shown = {"red": [(5, 22)], "yellow": [(17, 40)]}
    case = scores.untimed(scene(shown, FRAMES))
    red, _ = TRACKER.track(draw(FRAMES, shown), case)
    assert red.likeness.shape == (FRAMES, 2)
    assert np.array_equal(np.isfinite(red.likeness).all(1), red.presence)
    assert (red.likeness[red.presence, 0] > red.likeness[red.presence, 1] + 0.4).all()
    boxes = red.boxes[red.presence]
    assert np.abs(boxes - [4, 16, 18, 32]).max() <= 2


def test_a_word_without_a_kind_is_looked_for_by_identity_alone():
    shown = {"green": [(8, 31)], "red": [(0, 40)]}
    case = scores.untimed(scene(shown, FRAMES))
    green, red = TRACKER.track(draw(FRAMES, shown), case)
    assert green.spans == ((8, 31),) and green.identity
    assert "by identity alone" in green.remark and not red.remark
    assert spans({"red": [(8, 31)]}, {"green": []}) == [()]  # unlike


def without_pictures(asked, *colors):
    case = scene(asked, FRAMES)
    subjects = [
        dataclasses.replace(subject, pictures=()) if color in colors else subject
        for color, subject in zip(asked, case.subjects, strict=True)
    ]
    return dataclasses.replace(case, subjects=tuple(subjects))


def test_subjects_without_pictures_are_found_by_their_word_and_have_no_identity():
    shown = {"red": [(5, 12), (20, 31)], "blue": [(17, 40)]}
    case = without_pictures(shown, "red", "blue")
    red, blue = TRACKER.track(draw(FRAMES, shown), scores.untimed(case))
    assert red.spans == ((5, 12), (20, 31)) and blue.spans == ((17, 40),)
    assert not red.told and "by its word alone" in red.remark
    row, _ = scores.measure(case, draw(FRAMES, shown), TRACKER)
    assert (row["t_iou"], row["detected"], row["seen_look"]) == (1, 1, "dog")
    assert np.isnan([row[n] for n in ("identity", "identity_inside", "leak", "confusion")]).all()
    never, _ = TRACKER.track(draw(FRAMES, {"blue": [(17, 40)]}), scores.untimed(case))
    assert never.seen is None and not never.presence.any()


def test_one_with_a_picture_is_told_from_one_without():
    shown = {"red": [(5, 22)], "yellow": [(17, 40)]}
    red, yellow = TRACKER.track(draw(FRAMES, shown), scores.untimed(without_pictures(shown, "red")))
    assert yellow.spans == ((17, 40),) and yellow.identity and yellow.told
    assert red.spans == ((5, 22),) and not red.told


def test_nobody_looks_for_what_has_neither_a_picture_nor_a_kind():
    shown = {"green": [(8, 31)]}
    (green,) = TRACKER.track(draw(FRAMES, shown), scores.untimed(without_pictures(shown, "green")))
    assert not green.presence.any() and "nobody can look for it" in green.remark


def test_words_are_found_by_their_category():
    words = {"red": "golden retriever", "blue": "Taxi"}
    shown = {"red": [(5, 22)], "blue": [(17, 40)]}
    assert spans(shown, words=words) == [((5, 22),), ((17, 40),)]


def test_open_vocabularies_are_asked_for_the_word():
    @dataclasses.dataclass(frozen=True)
    class Open(ColorDetector):
        vocabulary: None = None
        find = {"green": "gizmo"}

    tracker = PerceivedTracker(perceivers(detector=Open()))
    assert spans({"green": [(8, 31)]}, tracker=tracker) == [((8, 31),)]


def test_a_clip_gives_its_two_figures():
    tracker = PerceivedTracker(perceivers(embedder=ColorClip()))
    assert {*tracker.measures} == {"clip_text", "clip_ref"}
    case = scores.untimed(scene({"yellow": []}, FRAMES))
    (seen,) = tracker.track(draw(FRAMES, {"yellow": [(8, 31)]}), case)
    assert seen.figures["clip_ref"] > 0.95 and 0.3 < seen.figures["clip_text"] < 0.5
    (never,) = tracker.track(draw(FRAMES, {}), case)
    assert np.isnan([*never.figures.values()]).all()


def clip_figures(shown, asked=("red", "yellow"), frames=FRAMES, fps=10.0, size=(48, 80), turn=1):
    """CLIPtext and CLIPref of each subject; every word is red to this CLIP."""
    case = scores.untimed(scene({color: [] for color in asked}, frames, fps))
    tracker = PerceivedTracker(perceivers(embedder=ColorClip()))
    found = tracker.track(draw(frames, shown, size)[:, :, ::turn], case)
    return {name: [*one.figures.values()] for name, one in zip(asked, found, strict=True)}


BOTH = {"red": [(5, 12), (20, 31)], "yellow": [(17, 40)]}


def test_likeness_to_a_clip_by_hand():
    # Vectors are colours less 100: red (120, -60, -60) and yellow (100, 100, -60).
    alike = 9600 / np.sqrt(21600 * 23600)
    found = clip_figures(BOTH)
    assert found["red"] == pytest.approx([1, 1], abs=5e-3)
    assert found["yellow"] == pytest.approx([alike, 1], abs=5e-3)
    always = clip_figures({"red": [(0, FRAMES)]}, ["red"])
    assert always["red"] == pytest.approx([1, 1], abs=5e-3)
    assert np.isnan(clip_figures({}, ["red"])["red"]).all()


@pytest.mark.parametrize(
    "changed",
    [{"asked": ("yellow", "red")}, {"size": (96, 160)}, {"size": (64, 240)}, {"turn": -1}],
    ids=["order", "larger", "wider", "mirrored"],
)
def test_likeness_to_a_clip_does_not_depend_on_order_size_or_side(changed):
    found = clip_figures(BOTH, **changed)
    plain = clip_figures(BOTH)
    for name, values in plain.items():
        assert found[name] == pytest.approx(values, abs=0.02)
    assert abs(plain["red"][0] - plain["yellow"][0]) > 0.5


def test_likeness_to_a_clip_does_not_depend_on_the_rate_or_on_how_long_it_is_seen():
    plain = clip_figures(BOTH)
    faster = {name: [(2 * s, 2 * e) for s, e in spans] for name, spans in BOTH.items()}
    others = (
        clip_figures(faster, frames=2 * FRAMES, fps=20.0),
        clip_figures({**BOTH, "red": [(2, 39)]}),
    )
    for found in others:
        for name, values in plain.items():
            assert found[name] == pytest.approx(values, abs=0.02)


@pytest.mark.parametrize("color", ["red", "green"])
def test_a_video_of_one_frame_shows_who_is_in_it(color):
    case = scores.untimed(scene({color: []}, 1))
    (there,) = TRACKER.track(draw(1, {color: [(0, 1)]}), case)
    assert there.spans == ((0, 1),) and there.identity
    (away,) = TRACKER.track(draw(1, {}), case)
    assert away.spans == ()


def test_proposals_are_boxes_of_anything():
    video = draw(1, {"green": [(0, 1)], "red": [(0, 1)]})
    (found,) = Proposals(ColorDetector(), perceivers().segmenter).detect(video, ["x", THING])
    assert sorted(found.boxes[:, 0].round()) == [4, 62] and (found.words == 1).all()
    (alone,) = Proposals(None, perceivers().segmenter).detect(video, [THING])
    assert len(alone.scores) == 2
    (none,) = Proposals(None, perceivers().segmenter).detect(video, ["x"])
    assert len(none.scores) == 0


def test_what_it_sees_depends_on_its_settings():
    kinds = [value for values in TRACKER.variations.values() for value in values]
    prints = [other.fingerprint for _, other in kinds]
    assert len({str(one) for one in [*prints, TRACKER.fingerprint]}) == len(kinds) - 1


def test_boxes_are_on_the_way_from_one_to_the_next():
    ends = [Seen(f, np.array([x, 0, x + 4, 8.0]), 0.9, "dog") for f, x in ((2, 10.0), (6, 30.0))]
    there = np.arange(9) > 0
    boxes = perceived._between(ends, there)
    assert np.isnan(boxes[0]).all() and np.isfinite(boxes[1:]).all()
    assert boxes[1:, 0].tolist() == [10, 10, 15, 20, 25, 30, 30, 30]
    assert (boxes[1:, 2] - boxes[1:, 0] == 4).all()
    assert np.isnan(perceived._between([], there)).all()
