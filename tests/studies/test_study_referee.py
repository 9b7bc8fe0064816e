"""The calibration of the judges: what is committed holds what the guide says of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from marks import assert_charts_alike

from studies import referee_calibration

pytestmark = pytest.mark.slow

DOCS = Path(__file__).resolve().parents[2] / "docs"
FOUND = json.loads((DOCS / "results" / "referee_calibration.json").read_text())


def test_the_committed_figure_is_that_of_the_numbers():
    committed = (DOCS / "results" / "referee_calibration.svg").read_bytes()
    assert_charts_alike(referee_calibration.draw(FOUND), committed)


def test_the_tracker_of_sprites_gives_the_truth():
    for name in ("late", "gap"):
        slope = FOUND["faults"][name]["slope"]
        assert abs(slope["mean"] - 1) <= 0.05, name
    assert abs(FOUND["faults"]["late"]["bias_frames"]["mean"]) <= 1
    assert abs(FOUND["faults"]["gap"]["bias"]["mean"]) * 8 <= 1  # frames of 8 a second
    assert FOUND["truth"]["t_iou"]["mean"] >= 0.97


def test_the_guide_has_these_numbers():
    page = " ".join((DOCS / "guides" / "evaluate.md").read_text().split())
    assert f"{FOUND['clips']} clips of sprites" in page
    for name, fault in FOUND["faults"].items():
        if fault["slope"]:
            bias = FOUND["faults"][name]["bias"]["mean"]
            assert f"| {name} | {fault['slope']['mean']:.3f} | {bias:+.3f} s |" in page
    two = FOUND["two"]
    assert f"Kendall's tau is {two['agreement']['kendall']:.2f}" in page
    assert f"t-IOU of the truth {two['second']['truth']['t_iou']['mean']:.3f}" in page


def test_a_place_that_cannot_be_written_is_refused_first(tmp_path):
    words = [
        "--out",
        str(tmp_path / "no" / "where" / "x.json"),
        "--figure",
        str(tmp_path / "x.svg"),
    ]
    with pytest.raises(SystemExit) as error:
        referee_calibration.main(words)
    assert error.value.code == 2
