"""Pictures of plans: bars are as long as their share, and nothing is drawn where nothing can."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import ImageColor

from alchemint_jax import cli
from alchemint_jax.plan.picture import ALARM, DPI, KINDS, ROW, draw

PLANS = Path(__file__).parents[2] / "docs" / "plans"


@pytest.fixture(scope="module")
def plan():
    return json.loads((PLANS / "data_axis_8.json").read_text())


def _pixels(picture, color):
    far = np.abs(np.asarray(picture.convert("RGB"), int) - ImageColor.getrgb(color)).max(-1)
    return int((far < 8).sum())


def test_bars_are_as_long_as_their_share(plan):
    picture = draw([plan])
    average, moments = (_pixels(picture, KINDS[kind]) for kind in ("average", "moments"))
    assert moments == pytest.approx(2 * average, rel=0.15)  # each has a patch of the legend, too
    assert _pixels(picture, ALARM) == 0
    assert draw([plan, plan]).height - picture.height == pytest.approx(ROW * DPI, abs=1)


def test_a_plan_that_does_not_fit_is_marked_and_cut_off(plan):
    large = plan["memory_gib"] | {"activations": 9 * plan["available_gib"]}
    lost = plan | {"fits": False, "peak_gib": 10 * plan["available_gib"], "memory_gib": large}
    assert _pixels(draw([lost]), ALARM) > 100
    assert draw([lost]).size == draw([plan]).size


def test_without_matplotlib_it_is_said_before_anything_is_compiled(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    words = ["--config", "configs/wan_1_3b.py", "--target", "v5p-8"]
    assert cli.main(["plan", *words, "--picture", str(tmp_path / "p.png")]) == 2
    assert "pip install 'alchemint-jax[studies]'" in capsys.readouterr().err
