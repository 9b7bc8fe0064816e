"""Three systems on the same boards, and what scores cost: the guide says what the files have."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from alchemint_jax.evaluate.benchmark import fingerprints
from alchemint_jax.worlds.sprites.cases import FIRST_SEED, sprites_cases
from alchemint_jax.worlds.sprites.world import sample_clip
from studies import evaluating, three_systems

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


def test_the_guide_says_what_scores_cost():
    found = json.loads((DOCS / "results" / "evaluating.json").read_text())
    assert found["weights"] == fingerprints("sprites")
    page = " ".join((DOCS / "guides" / "evaluate.md").read_text().split())
    seconds = found["seconds"]
    for said in (
        f"{found['limit']} boards in {found['steps']} sampling steps takes",
        f"takes {seconds['evaluation']:.1f} s, as long as",
        f"{seconds['steps_of_an_evaluation']:.1f} training steps",
        f"first time takes {seconds['first_evaluation']:.1f} s",
    ):
        assert said in page, said


def test_seconds_are_those_of_the_lines():
    """The first step is compiled, and so is the first evaluation."""
    lines = [{"steps_per_second": rate} for rate in (0.1, 2.0, 4.0, 2.0)]
    lines += [{"evaluation/seconds": seconds} for seconds in (9.0, 3.0, 5.0)]
    assert evaluating.measured(lines) == {
        "first_evaluation": 9.0,
        "evaluation": 4.0,
        "step": 0.5,
        "steps_of_an_evaluation": 8.0,
    }


def test_a_folder_that_is_there_is_not_written_over(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(evaluating, "prepare_jax", lambda: None)
    with pytest.raises(SystemExit) as error:
        evaluating.main(["--workdir", str(tmp_path), "--out", str(tmp_path / "e.json")])
    assert error.value.code == 2 and "give a new folder" in capsys.readouterr().err
