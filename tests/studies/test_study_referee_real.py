"""The judge of any video on a filmed clip: what is committed holds what the guide says of it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from alchemint_jax import media
from alchemint_jax.errors import DataError
from studies import referee_real

DOCS = Path(__file__).resolve().parents[2] / "docs"
FOUND = json.loads((DOCS / "results" / "referee_real.json").read_text())


def test_the_judge_gives_the_truth_and_what_was_put_in():
    assert FOUND["truth"]["t_iou"]["mean"] >= 0.95
    for name in ("late", "gap"):
        assert abs(FOUND["faults"][name]["slope"]["mean"] - 1) <= 0.05, name
        assert abs(FOUND["faults"][name]["bias"]["mean"]) <= 0.1, name
    assert all(FOUND["faults"]["wrong subject"]["within"].values())


def test_the_guide_has_these_numbers():
    page = " ".join((DOCS / "guides" / "evaluate.md").read_text().split())
    assert f"t-IOU is {FOUND['truth']['t_iou']['mean']:.3f}" in page
    lines = referee_real.table(FOUND).splitlines()
    assert len(lines) == 2 + len(FOUND["faults"])
    for line in lines:
        assert " ".join(line.split()) in page, line


def test_labels_are_of_one_clip(tmp_path):
    video = np.random.default_rng(0).integers(0, 255, (3, 32, 48, 3), np.uint8)
    media.write_video(tmp_path / "short.mp4", video, 8)
    with pytest.raises(DataError, match=r"short\.mp4: has 3 frames; the labels are of 01_dog\.mp4"):
        referee_real.labelled(tmp_path / "short.mp4")
    with pytest.raises(DataError, match=r"--clip .*none\.mp4: cannot be read"):
        referee_real.labelled(tmp_path / "none.mp4")
