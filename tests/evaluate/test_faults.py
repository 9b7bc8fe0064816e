from __future__ import annotations

import numpy as np
import pytest
from colored import TRACKER, ColorTracker, draw, scene
from hypothesis import given
from hypothesis import strategies as st

from alchemint_jax import cli
from alchemint_jax.errors import DataError
from alchemint_jax.evaluate import calibration, faults, recovery
from alchemint_jax.evaluate.calibration import Truth, calibrate
from alchemint_jax.results import to_json
from alchemint_jax.scene import Spans

pytestmark = pytest.mark.slow

masks = st.lists(st.booleans(), min_size=4, max_size=30).map(np.array)


def truths():
    shown = [
        {"red": [(6, 30)], "blue": [(0, 12), (20, 36)]},
        {"yellow": [(2, 20)]},
        {"green": [(10, 34)], "red": [(15, 40)]},
    ]
    return [
        Truth(scene(some, 40, name=f"clip {i}"), draw(40, some)) for i, some in enumerate(shown)
    ]


def test_late_is_late():
    assert faults.late(5, 2).tolist() == [0, 0, 0, 1, 2]


@given(masks)
def test_what_is_replaced_shows_the_other(where):
    by = ~where
    if not by.any():
        return
    order = faults.replaced(where, by)
    assert by[order].all()
    assert (order[by] == np.flatnonzero(by)).all()


def test_what_is_shown_instead_is_the_middle_of_the_longest_run():
    by = np.zeros(20, bool)
    by[1:3] = by[8:16] = True
    order = faults.replaced(~by, by)
    assert order[3:8].tolist() == [9, 10, 11, 12, 13]
    assert order[16:].tolist() == [10, 11, 12, 13] and order[0] == 11
    few = np.arange(9) >= 6
    assert faults.replaced(~few, few)[:6].tolist() == [6, 7, 8, 7, 6, 7]


def test_a_gap_is_in_the_middle_of_the_longest_appearance():
    present = np.zeros(30, bool)
    present[2:5] = present[10:26] = True
    order = faults.gap(present, ~present, 4)
    assert Spans.where(present[order]) == ((2, 5), (10, 16), (20, 26))
    assert faults.gap(present, ~present, 9) is None


def test_pixels_fade_and_leave():
    (truth, *_) = truths()
    here = truth.presence[0]
    empty = draw(40, {"blue": [(0, 12), (20, 36)]})
    half = faults.faded(truth.video, empty, here, 0.5)
    assert np.array_equal(half[~here], truth.video[~here])
    assert np.abs(half[10, 20, 8] - (np.array([220, 40, 40]) + 128) / 2).max() <= 1
    boxes = np.full((40, 4), np.nan)
    boxes[10:12] = 4, 16, 18, 32
    alone = faults.faded(truth.video, empty, here, 0.5, boxes)
    assert np.array_equal(alone[12:], half[12:])  # without a box
    inside = np.zeros(half.shape[1:3], bool)
    inside[13:35, 1:21] = True  # the box and 0.15 of its size, in whole pixels
    assert np.array_equal(alone[10, inside], half[10, inside])
    assert np.array_equal(alone[10, ~inside], truth.video[10, ~inside])
    assert (half[11] != truth.video[11]).any()
    moved, done = faults.half_out(truth.video, boxes, here, 0.5)
    assert Spans.where(done) == ((10, 12),)
    red = (np.abs(moved[10].astype(int) - [220, 40, 40]).sum(-1) < 9).sum()
    assert red == 7 * 16  # half of 14 columns


def test_who_is_half_out_stays_at_one_border():
    """Where it crosses the middle, and where it is cut off as it is."""
    video = np.zeros((6, 8, 40, 3), np.uint8)
    lefts = [1, 8, 17, 25, 31, 36]
    boxes = np.array([[x, 2, min(x + 8, 40), 6] for x in lefts], float)
    for frame, (left, _, right, _) in zip(video, boxes, strict=True):
        frame[2:6, int(left) : int(right)] = 255
    assert {*(boxes[:, [0, 2]].mean(1) < 20)} == {True, False}
    moved, done = faults.half_out(video, boxes, np.ones(6, bool), 0.25)
    assert done.all()
    assert [(np.flatnonzero(frame[3].max(-1))).tolist() for frame in moved] == 6 * [
        [*range(34, 40)]
    ]
    mirrored, _ = faults.half_out(video[:, :, ::-1], 40 - boxes[:, [2, 1, 0, 3]], done, 0.25)
    assert np.array_equal(mirrored, moved[:, :, ::-1])
    cut = boxes[-1:]
    assert not faults.half_out(video[-1:], cut, np.ones(1, bool), 0.25)[1].any()


def test_a_perfect_judge_has_a_slope_of_one_and_no_bias():
    found = calibrate(truths(), TRACKER, resamples=50, progress=False)
    assert {*found["faults"]} == {*recovery.KEY}
    for name in ("late", "gap"):
        one = found["faults"][name]
        assert one["slope"]["mean"] == pytest.approx(1)
        assert one["bias"]["mean"] == pytest.approx(0)
        assert one["curve"]["1"]["inserted"] > 0
    assert found["faults"]["late"]["lost"] == 0
    assert [found["faults"][f]["bias"]["mean"] for f in ("always", "never")] == [0, 0]
    assert found["truth"]["t_iou"] == {"mean": 1, "low": 1, "high": 1}
    assert found["truth"]["smallest_difference"] == 0
    assert found["thresholds"]["least"]["10000"]["detected"]["mean"] == 0
    assert found["faults"]["half out"]["curve"]["0.5"]["measured"] == 1
    seen = {name: one["within"] for name, one in found["faults"].items()}
    assert {*seen["faded"]} == {"0.5", "0.75"} and {*seen["half out"]} == {"0.25", "0.5"}
    assert seen.pop("faded")["0.75"]  # what is fainter has no colour any more
    assert not seen.pop("wrong subject")["bias"]  # another one on screen is of the colour asked for
    assert all(all(within.values()) for within in seen.values())
    assert {*found["faults"]["late"]["within"]} == {"slope", "bias"}
    to_json(found)  # plain values
    assert any("slope 1.000" in line for line in calibration.lines(found))


def test_only_of_who_is_half_there_everybody_says_that_it_is_there():
    shares = [recovery.shown_share("faded", 0.35), recovery.shown_share("half out", 0.25)]
    assert shares == [0.35, 0.75]
    assert [recovery.shown_share(fault, 1.0) for fault in ("never", "always")] == [1, 1]


def test_half_of_the_frames_are_seen_between_two_amounts():
    assert recovery.half({0.2: 0.0, 0.6: 1.0}) == pytest.approx(0.4)
    assert recovery.half({0.25: 0.9, 0.75: 0.4, 0.5: 0.6}) == pytest.approx(0.625)
    assert recovery.half({0.1: 0.6, 0.2: 0.9}) is None and recovery.half({0.5: 0.5}) is None


def test_a_judge_who_is_late_is_found_out():
    found = calibrate(truths(), ColorTracker(late=2), resamples=50, progress=False)
    late = found["faults"]["late"]
    assert late["slope"]["mean"] == pytest.approx(1, abs=0.1)
    assert 1 < late["bias_frames"]["mean"] <= 2  # boundaries at the ends of a clip cannot be late
    assert found["truth"]["boundaries"]["frames"]["bias"] > 1
    assert late["within"] == {"slope": True, "bias": False}
    assert any("not within bounds: bias" in line for line in calibration.lines(found))
    unseen = ColorTracker(10_000)
    blind = calibrate(truths(), unseen, thresholds=False, resamples=20, progress=False)
    assert blind["thresholds"] == {} != found["thresholds"]
    blind = blind["faults"]
    assert blind["never"]["within"] == {"1": True} and blind["always"]["within"] == {"bias": False}
    assert not any(blind["faded"]["within"].values())
    assert found["truth"]["smallest_difference"] > 0


def test_two_judges_are_compared():
    some = truths()[1:2]
    found = calibrate(some, TRACKER, second=TRACKER, resamples=20, progress=False)
    assert found["agreement"]["kendall"] == pytest.approx(1)
    assert found["agreement"]["mean_difference"] == 0
    blind = calibrate(some, TRACKER, second=ColorTracker(10_000), resamples=20, progress=False)
    assert blind["agreement"]["mean_difference"] > 0.3
    assert np.isnan(blind["agreement"]["kendall"])


def test_strangers_of_a_single_clip_are_the_others_in_it():
    (two, one, _) = truths()
    strange = calibration._strangers([two])[0]
    assert [*strange] == [0, 1]
    for number, other in ((0, 1), (1, 0)):
        pictures = strange[number].subjects[number].pictures
        assert np.array_equal(pictures, two.scene.subjects[other].pictures)
    assert calibration._strangers([one]) == [{}]


def test_there_must_be_clips():
    with pytest.raises(DataError, match="no clips"):
        calibrate([], TRACKER)


def test_the_command_calibrates_on_a_world(tmp_path, capsys):
    words = ["evaluate", "--calibrate", "--limit", "1", "--out", str(tmp_path)]
    assert cli.main(words) == 0
    assert "late (late): slope 1.0" in capsys.readouterr().out
    assert (tmp_path / calibration.NAME).is_file()
    assert "Known faults" in (tmp_path / calibration.PAGE).read_text()
    assert cli.main([*words, "--steps", "3"]) == 2
    assert "--steps is not for --calibrate" in capsys.readouterr().err
