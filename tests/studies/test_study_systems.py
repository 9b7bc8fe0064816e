"""Three systems on the same boards: the page says what the file has."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from alchemint_jax.evaluate.benchmark import fingerprints
from alchemint_jax.worlds.sprites.cases import FIRST_SEED, sprites_cases
from alchemint_jax.worlds.sprites.world import sample_clip
from studies import three_systems

pytestmark = pytest.mark.slow

DOCS = Path(__file__).resolve().parents[2] / "docs"


def test_all_systems_are_asked_for_the_same_boards_and_get_pages(tmp_path):
    cases = sprites_cases(2, seed=3)
    truth = {
        case.id: sample_clip(i, seed=FIRST_SEED + 3, subjects=len(case.subjects)).video
        for i, case in enumerate(cases)
    }

    def draw(scenes, control, **settings):
        always = all(
            len(s.spans) == 1 and s.spans[0] == (0, 33) for x in scenes for s in x.subjects
        )
        videos = np.stack([truth[scene.id] for scene in scenes])
        return np.full_like(videos, 120) if always and control is None else videos

    options = {"seed": 3, "batch": 3, "progress": False, "pages": tmp_path}
    found = three_systems.measure(draw, cases, **options)
    first, without, gated = three_systems.SYSTEMS
    means = {name: found["variants"][name]["t_iou"]["mean"] for name in three_systems.SYSTEMS}
    assert means[first] == means[gated] > 0.95 and means[without] == 0
    lost = found["differences"][without]["t_iou"]
    assert lost["difference"]["mean"] == pytest.approx(-means[first]) and lost["b"] == 0
    assert found["differences"][gated]["t_iou"]["difference"]["mean"] == 0
    assert (tmp_path / "leaderboard.html").is_file()
    reports = [path.parent.name for path in sorted(tmp_path.glob("*/report.html"))]
    assert reports == ["the_bundled_model", "without_intervals", "without_intervals_gated"]
    text = three_systems.table(found)
    assert text.count("\n") == 2 + 3 + 2 and "not clear" in text


def test_the_guide_says_what_was_measured():
    found = json.loads((DOCS / "results" / "three_systems.json").read_text())
    assert found["weights"] == fingerprints("sprites")
    page = (DOCS / "guides" / "evaluate.md").read_text()
    assert f"{found['limit']} boards in {found['steps']} sampling steps" in " ".join(page.split())
    for line in three_systems.table(found).splitlines():
        assert line in page, line
