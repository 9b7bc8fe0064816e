"""A tracker that sees everything makes figures of what is drawn: they are known."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from colored import TRACKER, ColorTracker, draw, scene

from alchemint_jax import evaluate
from alchemint_jax.evaluate import scores
from alchemint_jax.results import plain

ASKED = {"red": [(4, 12)]}


def rows(shown, asked=ASKED, frames=20, fps=10.0, tracker=TRACKER):
    return list(scores.measure(scene(asked, frames, fps), draw(frames, shown), tracker))


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        # As asked for.
        (
            [(4, 12)],
            {"t_iou": 1, "t_l2": 0, "frame_iou": 1, "boundary": 0, "presence": 1, "absence": 1}
            | {"appearances": 1, "identity": 1, "identity_inside": 1, "leak": 0, "recall_0.9": 1},
        ),
        # Always there: t-IOU is the length asked for, absence 0, everything leaks.
        (
            [(0, 20)],
            {"t_iou": 8 / 20, "t_l2": math.sqrt((4**2 + 8**2) / 2) / 20, "frame_iou": 8 / 20}
            | {"boundary": (0.4 + 0.8) / 2, "presence": 1, "absence": 0, "leak": 1}
            | {"identity_inside": 1, "recall_0.3": 1, "recall_0.5": 0},
        ),
        # Never there.
        (
            [],
            {"t_iou": 0, "t_l2": 1, "frame_iou": 0, "presence": 0, "absence": 1, "detected": 0}
            | {"appearances": 0, "identity": 0, "identity_inside": 0, "leak": 0},
        ),
        # Late by 3 frames of 10 a second.
        (
            [(7, 15)],
            {"t_iou": 5 / 11, "t_l2": 3 / 20, "frame_iou": 5 / 11, "boundary": 0.3}
            | {"presence": 5 / 8, "absence": 9 / 12, "leak": 3 / 12, "identity_inside": 5 / 8},
        ),
        # With a gap: its span is right, its frames are not.
        (
            [(4, 6), (9, 12)],
            {"t_iou": 1, "t_l2": 0, "frame_iou": 5 / 8, "boundary": 0, "presence": 5 / 8}
            | {"absence": 1, "appearances": 0, "detected": 1},
        ),
        # One frame of it.
        ([(4, 5)], {"t_iou": 1 / 8, "presence": 1 / 8, "boundary": 0.35, "absence": 1}),
    ],
)
def test_figures_by_hand(shown, expected):
    (row,) = rows({"red": shown})
    assert {name: row[name] for name in expected} == pytest.approx(expected)


def test_a_subject_never_seen_has_no_boundary_error():
    (row,) = rows({"red": []})
    assert (row["start_errors"], row["end_errors"]) == ([], [])
    assert np.isnan(row["boundary"]) and row["seen_look"] is None


def test_several_appearances_have_an_error_each():
    (row,) = rows({"red": [(1, 3), (11, 15)]}, {"red": [(0, 4), (10, 14)]})
    assert row["start_errors"] == pytest.approx([0.1, 0.1])
    assert row["end_errors"] == pytest.approx([-0.1, 0.1])
    assert row["appearances"] == 1


@pytest.mark.parametrize("times", [2, 3])
def test_figures_do_not_depend_on_the_rate(times):
    (slow,) = rows({"red": [(7, 15)]})
    more = [(7 * times, 15 * times)]
    (fast,) = rows(
        {"red": more}, {"red": [(4 * times, 12 * times)]}, frames=20 * times, fps=10.0 * times
    )
    for name in scores.measures(TRACKER):
        assert fast[name] == pytest.approx(slow[name], nan_ok=True), name
    (late,) = rows({"red": [(8, 16)]})
    assert late["boundary"] != pytest.approx(slow["boundary"])


@pytest.mark.parametrize("size", [(96, 160), (64, 240)])
def test_figures_do_not_depend_on_the_size_or_on_who_comes_first(size):
    shown = {"red": [(7, 15)], "blue": [(0, 6), (9, 14)]}
    asked = {"red": [(4, 12)], "blue": [(2, 14)]}

    def figures(order, size):
        case = scene({name: asked[name] for name in order})
        return list(scores.measure(case, draw(20, shown, size), TRACKER))

    small = figures(("red", "blue"), (48, 80))
    large = figures(("blue", "red"), size)[::-1]
    for one, other in zip(small, large, strict=True):
        for name in scores.measures(TRACKER):
            if name != "area":  # of this tracker, in pixels
                assert one[name] == pytest.approx(other[name], nan_ok=True), name
    assert small[0]["t_iou"] != small[1]["t_iou"]


def test_a_video_that_is_too_short_shows_nobody_in_what_it_lacks():
    case = scene({"red": [(4, 18)]}, frames=20)
    (row,) = scores.measure(case, draw(10, {"red": [(4, 10)]}), TRACKER)
    assert row["shown"] == [[4, 10]] and row["presence"] == pytest.approx(6 / 14)
    assert row["end_errors"] == pytest.approx([-0.8])


def test_a_missing_video_gains_nothing():
    case = scene({"red": [(4, 12)], "blue": [(0, 20)]})
    titles = scores.measures(TRACKER)
    lost = list(scores.missing(case, titles, "there is no video"))
    for row in lost:
        assert all(row[name] == 0 for name in titles if name not in scores.LESS_IS_BETTER)
        assert row["t_l2"] == 1 and row["status"] == "missing" and np.isnan(row["leak"])
    seen = list(scores.measure(case, draw(20, {"red": [(4, 12)]}), TRACKER))
    assert {*seen[0]} == {*lost[0]}
    report = scores.summarised(lost + [dict(row, case="b") for row in seen], titles, {}, 20)
    assert report["overall"]["t_iou"]["mean"] == pytest.approx(1 / 4)
    assert report["clips"] == 2 and report["boundaries"]["start"]["errors"] == 1


def test_a_report_has_every_figure_and_is_plain():
    asked = {"red": [(4, 12)], "blue": [(2, 6), (10, 14)]}
    both = [scene(asked, name=name) for name in "ab"]
    right, late = draw(20, asked), draw(20, {"red": [(7, 15)], "blue": [(4, 8), (12, 16)]})
    report = evaluate.score(both, [right, late], TRACKER, resamples=20)
    assert {*report["overall"]} == {"clips", "subjects", *scores.measures(TRACKER)}
    start = report["boundaries"]["start"]
    assert (start["errors"], start["bias"]) == (6, pytest.approx((0.3 + 0.2 + 0.2) / 6))
    assert report["overall"]["confusion"]["mean"] == 0
    again = plain(report)
    assert again["rows"][1]["word"] == "car" and again["measures"]["recall_0.9"] == "R@0.9"
    # Two clips, 0.5 apart: the standard error of their mean is a half of that.
    values = [{"case": name, "x": x} for name, x in (("a", 0.5), ("b", 1.0))]
    least = scores.smallest_differences(values, ["x"])["x"]
    assert least == pytest.approx((1.96 + 0.84) * math.sqrt(2) * 0.25)
    assert np.isnan(scores.smallest_differences(values[:1], ["x"])["x"])


def test_trackers_that_compare_nothing_still_measure():
    class Plain(ColorTracker):
        def _sighting(self, *args):
            return dataclasses.replace(super()._sighting(*args), likeness=None, boxes=None)

    (row,) = rows({"red": [(4, 12)]}, tracker=Plain())
    assert row["t_iou"] == 1 and np.isnan(row["leak"]) and np.isnan(row["identity_inside"])
