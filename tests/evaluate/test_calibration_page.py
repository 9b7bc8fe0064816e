"""The page of a calibration shows what the numbers are."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path

import pytest

from alchemint_jax.evaluate.calibration_page import TALL, WIDE, Panel, render_calibration

NAN = float("nan")


def mean(value):
    return {"mean": value, "low": value - 0.1, "high": value + 0.1}


TRUTH = {
    **dict.fromkeys(("frame_iou", "presence", "absence", "detected", "identity"), mean(0.75)),
    "t_iou": mean(0.625),
    "likeness": mean(NAN),
    "boundaries": {
        "start": {"errors": 2, "bias": -0.0625, "median": 0.25, "p90": 0.375},
        "end": {"errors": 0, "bias": NAN, "median": NAN, "p90": NAN},
    },
    "smallest_difference": None,
}
LATE = {
    "figure": "late",
    "unit": "s",
    "lost": 3,
    "curve": {
        "1": {"inserted": 0.125, "measured": 0.25},
        "4": {"inserted": 0.5, "measured": 0.625},
        "8": {"inserted": 1.0, "measured": NAN},
    },
    "slope": mean(1.0),
    "bias": mean(0.125),
    "within": {"slope": True, "bias": False},
}
FADED = {
    "figure": "presence",
    "unit": "share",
    "lost": 0,
    "curve": {
        "0.5": {"inserted": 1.0, "measured": 0.875},
        "0.1": {"inserted": 1.0, "measured": 0.0},
    },
    "slope": None,
    "bias": None,
    "half": 0.3125,
    "within": {"0.5": True},
}
LATE_POINTS = [(0.125, 0.25), (0.5, 0.625)]
NASTY = "<script>alert(1)</script>"


def report(**more):
    return {
        "settings": {"tracker": "perceived", "second": NASTY},
        "clips": 2,
        "subjects": 3,
        "truth": TRUTH,
        "faults": {"late": LATE, "faded": FADED},
        "thresholds": {"presence.on": {"0.5": TRUTH, "0.25": TRUTH}},
        **more,
    }


class Page(HTMLParser):
    """Checks that tags close; keeps charts, and what a browser would load."""

    void = {"meta", "br"}

    def __init__(self, text):
        super().__init__()
        self.open, self.loaded, self.text, self.lines, self.dots = [], [], "", [], 0
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.loaded += [found[name] for name in ("src", "href") if name in found]
        self.dots += tag == "circle"
        if tag not in self.void:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        if tag == "polyline":
            self.lines.append(dict(attrs)["points"])

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def test_what_was_put_in_is_to_the_right_and_what_is_measured_is_up():
    panel = Panel("late", "", "s", {"a": [(0.0, 0.0), (0.5, 1.0), (1.0, 0.25)]}, (0, 0), (1, 1))
    assert panel.at((0.0, 0.0)) == (0, TALL) and panel.at((1.0, 1.0)) == (WIDE, 0)
    assert panel.drawn("a") == f"0.0,{TALL:.1f} {WIDE / 2:.1f},0.0 {WIDE:.1f},{0.75 * TALL:.1f}"


def test_the_page_has_the_numbers_and_is_whole():
    text = render_calibration(report())
    page = Page(text)
    assert page.loaded == [] and "http" not in text and NASTY not in text
    assert "width=device-width" in text and "prefers-color-scheme:dark" in text
    # Two of three amounts of the one fault, both of the other, and three figures by two thresholds.
    assert page.dots == 2 + 2 + 3 * 2 and len(page.lines) == 1 + 1 + 3
    top, wide = 0.625, WIDE
    first = [f"{wide * x / top:.1f},{TALL * (1 - y / top):.1f}" for x, y in LATE_POINTS]
    assert page.lines[0] == " ".join(first)
    assert page.lines[1] == f"{0.1 * WIDE:.1f},{TALL:.1f} {0.5 * WIDE:.1f},{TALL / 8:.1f}"
    assert ": slope 1.000; bias +0.125 s; not measured: 3; not within bounds: bias" in page.text
    assert ": seen in half of the frames at 0.31; within bounds" in page.text
    assert "-0.062" in page.text and "0.250, 0.375" in page.text and "presence.on" in page.text
    assert "Two judges" not in page.text


def test_a_second_judge_has_lines_of_its_own():
    late = {**LATE, "curve": {"4": {"inserted": 0.5, "measured": 0.75}}}
    agreement = {"mean_difference": 0.0625, "correlation": 0.5, "kendall": NAN}
    second = {"truth": {**TRUTH, "t_iou": mean(0.125)}, "faults": {"late": late}}
    page = Page(render_calibration(report(second=second, agreement=agreement)))
    assert page.dots == 2 + 2 + 6 + 1 and "0.125" in page.text and NASTY in page.text
    assert "differs by 0.062" in page.text and "tau of –" in page.text


def test_without_thresholds_there_is_no_part_about_them():
    assert "Thresholds" not in Page(render_calibration(report(thresholds={}))).text


@pytest.mark.parametrize("name", ["referee_real.json", "referee_calibration.json"])
def test_committed_calibrations_have_a_page(name):
    """Their numbers were read from JSON, where what is not known is None."""
    folder = Path(__file__).resolve().parents[2] / "docs" / "results"
    found = json.loads((folder / name).read_text())
    page = Page(render_calibration(found))
    assert page.text.count("within bounds") >= len(found["faults"])
