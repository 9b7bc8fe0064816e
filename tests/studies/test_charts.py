"""Figures of means and intervals: what is drawn lies where it belongs, and NaN is not drawn."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

import pytest

from studies.charts import curves, forest

SVG = "{http://www.w3.org/2000/svg}"


def _estimate(mean):
    return {"mean": mean, "low": mean - 0.03, "high": mean + 0.02}


def _dots(svg):
    found = ElementTree.fromstring(svg).iter(f"{SVG}circle")
    return [(float(dot.get("cx")), float(dot.get("cy"))) for dot in found]


def _texts(svg):
    return [text.text for text in ElementTree.fromstring(svg).iter(f"{SVG}text")]


def test_larger_means_lie_further_right_and_arms_below_each_other():
    arms = {"one": _estimate(0.3), "two <&": _estimate(0.5), "three": _estimate(0.4)}
    svg = forest({"all": {"t-IOU": arms}}, "title", baseline="two <&")
    (x1, y1), (x2, y2), (x3, y3) = _dots(svg)
    assert x1 < x3 < x2 and y1 < y2 < y3
    assert x3 - x1 == pytest.approx(x2 - x3, abs=0.11)
    assert {"one", "two <&", "three", "t-IOU", "all", "title"} <= set(_texts(svg))
    # The baseline's mean goes through the whole panel; of an arm that is not there, nothing does.
    assert f"M{x2} " in svg and svg.count("dasharray") == 1
    assert "dasharray" not in forest({"all": {"t-IOU": arms}}, "title", baseline="four")


def test_larger_values_lie_higher_and_settings_in_order():
    points = {40.0: _estimate(0.8), 5.0: _estimate(0.3), 20.0: _estimate(0.8)}
    (x1, y1), (x2, y2), (x3, y3) = _dots(curves({"steps": {"t-IOU": points}}, "title"))
    assert x1 < x2 < x3 and y1 > y2 == y3


def test_panels_of_one_figure_share_their_axis():
    panels = {
        "steps": {"t-IOU": {1.0: _estimate(0.2)}},
        "weight": {"t-IOU": {3.0: _estimate(0.9)}},
    }
    (x1, y1), (x2, y2) = _dots(curves(panels, "title"))
    assert x1 < x2 and y1 > y2


@pytest.mark.parametrize("unknown", [None, float("nan")])
def test_what_is_not_known_is_not_drawn(unknown):
    nothing = dict.fromkeys(("mean", "low", "high"), unknown)
    arms = {"one": nothing, "two": _estimate(0.5)}
    assert len(_dots(forest({"all": {"t-IOU": arms}}, "title", baseline="one"))) == 1
    assert len(_dots(curves({"steps": {"t-IOU": {1.0: nothing, 2.0: _estimate(1)}}}, "t"))) == 1
    assert not _dots(forest({"all": {"t-IOU": {"one": nothing}}}, "title", baseline="one"))
