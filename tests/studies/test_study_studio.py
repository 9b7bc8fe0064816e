"""How long people wait for the studio: within the bounds, and as the guide says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from studies import studio

ROOT = Path(__file__).parents[2]
FOUND = json.loads((ROOT / "docs" / "results" / "studio.json").read_text())


def test_nobody_waits_longer_than_is_promised():
    assert {*FOUND["waits"]} == {*studio.MODELS} and FOUND["cores"] == 2
    for waits in FOUND["waits"].values():
        for wait, most in (("preview_seconds", 2.0), ("clip_seconds", 6.0)):
            assert len(waits[wait]["all"]) == studio.REPEATS
            assert waits[wait]["median"] == pytest.approx(sorted_middle(waits[wait]["all"]))
            assert waits[wait]["median"] <= most
    dragging = FOUND["dragging"]
    assert dragging["bars"] == 200 and dragging["frames"] > 60
    assert dragging["frames_per_second"] > 59 and dragging["milliseconds"]["median"] < 17


def test_the_guide_says_what_was_measured():
    page = " ".join((ROOT / "docs" / "guides" / "studio.md").read_text().split())
    fast, slow = (FOUND["waits"][name] for name in studio.MODELS)
    for waits in (fast, slow):
        preview, clip = (waits[f"{one}_seconds"]["median"] for one in ("preview", "clip"))
        assert f"{preview:.1f} s" in page and f"{clip:.1f} s" in page
    assert f"{FOUND['dragging']['frames_per_second']:.0f} frames a second" in page


def sorted_middle(values):
    ordered, half = sorted(values), len(values) // 2
    return (ordered[half - 1] + ordered[half]) / 2
