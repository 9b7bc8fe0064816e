"""Charts of means and intervals: what is drawn lies where it belongs, and NaN is not drawn."""

from __future__ import annotations

import numpy as np
import pytest
from marks import marks, texts

from studies.charts import Panel, curves, forest


def _estimate(mean):
    return {"mean": mean, "low": mean - 0.03, "high": mean + 0.02}


def _forest(arms, baseline, **more):
    return forest({"all": [Panel("t-IOU", "1 is best", arms)], **more}, "title", baseline)


def test_larger_means_lie_further_right_and_arms_below_each_other():
    arms = {"one": _estimate(0.3), "two <&": _estimate(0.5), "three": _estimate(0.4)}
    svg = _forest(arms, "two <&")
    found = marks(svg)
    (one, three), (two,) = found["all/t-IOU/arms"], found["all/t-IOU/baseline"]
    assert one[0] < three[0] < two[0] and one[1] < two[1] < three[1]
    assert three[0] - one[0] == pytest.approx(two[0] - three[0], abs=0.01)
    assert {"one", "two <&", "three", "t-IOU", "1 is best", "all", "title"} <= set(texts(svg))
    # Of a baseline that is not there, nothing is said.
    assert any("baseline" in text for text in texts(svg))
    assert not any("baseline" in text for text in texts(_forest(arms, "four")))


@pytest.mark.parametrize("scale", [1.0, 1e-2, 1e-3])
def test_labels_of_ticks_do_not_touch(scale):
    arms = {"one": {"mean": -2e-1 * scale, "low": -1e0 * scale, "high": 8e-1 * scale}}
    svg = _forest(arms, "")
    ticks = [text for text in texts(svg) if not any(map(str.isalpha, text))]
    first, second, *_ = (float(text.replace("\N{MINUS SIGN}", "-")) for text in ticks)
    # An axis is 108 points wide, with a twentieth of the range free at each end.
    apart = 108 * (second - first) / (1.1 * 1.8 * scale)
    assert 5.1 * max(map(len, ticks)) < apart
    assert (len(ticks) > 3) == (scale == 1), "there are as many as there is room for"


def test_panels_of_one_measure_share_their_axis():
    low, high = {"one": _estimate(0.2)}, {"one": _estimate(0.9)}

    def ends(label):
        panels = [Panel("short", "t-IOU", low), Panel("long", label, high)]
        found = marks(forest({"by": panels}, "title", baseline=""))
        return found["by/long/arms"][0, 0] - found["by/short/arms"][0, 0]

    assert ends("t-IOU") > 50 + ends("t-L2")


def test_larger_values_lie_higher_and_settings_in_order():
    points = {40.0: _estimate(0.8), 5.0: _estimate(0.3), 20.0: _estimate(0.8)}
    found = marks(curves({"steps": [Panel("t-IOU", "t-IOU", points)]}, "title"))
    (x1, y1), (x2, y2), (x3, y3) = found["steps/t-IOU"]
    assert x1 < x2 < x3 and y1 > y2 == y3


def test_settings_share_the_axis_of_a_figure():
    panels = {
        "steps": [Panel("t-IOU", "t-IOU", {1.0: _estimate(0.2)})],
        "weight": [Panel("t-IOU", "t-IOU", {3.0: _estimate(0.9)})],
    }
    found = marks(curves(panels, "title"))
    (x1, y1), (x2, y2) = found["steps/t-IOU"][0], found["weight/t-IOU"][0]
    assert x1 < x2 and y1 > y2


@pytest.mark.parametrize("unknown", [None, float("nan")])
def test_what_is_not_known_is_not_drawn(unknown):
    nothing = dict.fromkeys(("mean", "low", "high"), unknown)
    found = marks(_forest({"one": nothing, "two": _estimate(0.5)}, "one"))
    assert sum(map(len, found.values())) == 1
    points = {1.0: nothing, 2.0: _estimate(1)}
    assert len(marks(curves({"steps": [Panel("t", "t", points)]}, "t"))["steps/t"]) == 1
    assert marks(_forest({"one": nothing}, "one")) == {}


def test_a_chart_is_the_same_whenever_it_is_drawn(monkeypatch):
    arms = {"one": _estimate(0.3), "two": _estimate(0.5)}
    first = _forest(arms, "two")
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "7")
    np.random.default_rng().random()
    assert _forest(arms, "two") == first
    assert b"Matplotlib v" not in first and b"dc:date" not in first
