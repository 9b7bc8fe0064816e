"""The figures of the study of step caches by hand, and its table against the committed result."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from studies import step_cache

ROOT = Path(__file__).resolve().parents[2]
FOUND = json.loads((ROOT / "docs" / "results" / "step_cache.json").read_text())


def test_energies_and_errors_by_hand():
    """Columns 0, 2 in every row; rows alike; the second frame is the first one raised by 3."""
    frame = np.array([[0.0, 2.0], [0.0, 2.0]], np.float32)
    latents = np.stack([frame, frame + 3])[None, ..., None]
    expected = {"horizontal": 2.0, "vertical": 0.0, "motion": 3.0}
    assert step_cache.energies(latents) == pytest.approx(expected)
    # Variance: values 0, 2, 3, 5 have 3.25.
    assert step_cache.relative_error(latents + 1, latents) == pytest.approx(1 / 3.25)
    assert step_cache.relative_error(latents, latents) == 0


def test_a_blurred_video_has_less_energy_and_an_error():
    """The check that trackers cannot make."""
    latents = np.random.default_rng(0).standard_normal((1, 5, 16, 16, 2)).astype(np.float32)
    blurred = (latents + np.roll(latents, 1, 3) + np.roll(latents, -1, 3)) / 3
    sharp, soft = step_cache.energies(latents), step_cache.energies(blurred)
    assert soft["horizontal"] < 0.5 * sharp["horizontal"] and soft["motion"] < 0.8 * sharp["motion"]
    assert step_cache.relative_error(blurred, latents) > 0.5


def test_psnr_by_hand():
    video = np.zeros((1, 1, 2, 2, 3), np.uint8)
    assert step_cache.psnr(video + np.uint8(255), video) == 0
    assert step_cache.psnr(video, video) == np.inf


def test_the_committed_result_is_on_the_page():
    assert {"whole", "cache"} <= set(FOUND["variants"]) <= set(step_cache.VARIANTS)
    page = (ROOT / "docs" / "guides" / "step_cache.md").read_text()
    lines = step_cache.markdown(FOUND).splitlines()
    assert len(lines) == 2 + len(FOUND["variants"])
    for line in lines:
        assert line in page


def test_the_committed_times_are_on_the_page():
    times = json.loads((ROOT / "docs" / "results" / "step_cache_times.json").read_text())
    assert times["weights"] == FOUND["weights"] and times["times"].keys() == set(
        step_cache.VARIANTS
    )
    page = (ROOT / "docs" / "guides" / "step_cache.md").read_text()
    for name, found in times["times"].items():
        assert len(found["seconds"]) == times["repeats"] == 7
        assert step_cache.time_row(name, found) in page
