"""Two judges on the same arms, and what scoring costs: the guide says what the files have."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from alchemint_jax.evaluate import Sighting
from alchemint_jax.evaluate.benchmark import fingerprints
from alchemint_jax.worlds.sprites.cases import sprites_cases
from studies import scoring, two_judges

pytestmark = pytest.mark.slow

DOCS = Path(__file__).resolve().parents[2] / "docs"
FRAMES = 33


class Judge:
    """Sees everybody in the first so many frames: the value of the pixels, or what is mapped."""

    measures = notes = {}

    def __init__(self, mapped=None):
        self.mapped = mapped or {}

    def check(self, image):
        pass

    def track(self, video, case):
        level = int(video.max())
        there = np.arange(FRAMES) < self.mapped.get(level, level)
        return [Sighting(there, s.word, s.word, {}) for s in case.subjects]


def draw(scenes, control, steps, **settings):
    """Timed arms show more frames than untimed ones, gated ones more, and fewer steps fewer."""
    told = any(s.spans != ((0, FRAMES),) for scene in scenes for s in scene.subjects)
    level = 12 + 10 * told + 5 * (control is not None) - 2 * (5 - steps)
    return np.full((len(scenes), FRAMES, 4, 4, 3), level, np.uint8)


def measure(second):
    options = {"seed": 3, "batch": 2, "steps": 5, "progress": False}
    judges = dict(zip(two_judges.JUDGES, (Judge(), second), strict=True))
    return two_judges.measure(draw, sprites_cases(2, 3), judges=judges, **options)


def test_ranks_of_arms_are_compared_and_pairs_that_differ_are_named():
    alike = measure(Judge())
    assert alike["kendall"]["presence"] == pytest.approx(1) and not alike["apart"]["presence"]
    # The second one takes 17 frames for 15, and so for less than the 16 of another arm.
    other = measure(Judge({17: 15}))
    ((pair,), tau) = other["apart"]["presence"], other["kendall"]["presence"]
    assert pair["arms"] == ["untimed, gated", "timed, 2 steps"] and tau == pytest.approx(13 / 15)
    gaps = [one["mean"] for one in pair["differences"].values()]
    assert gaps[0] < 0 < gaps[1]
    text = two_judges.table(other)
    assert text.count("\n") == 2 + len(two_judges.ARMS) + 1 and f"{tau:.2f}" in text


def test_the_guide_says_what_two_judges_say():
    found = json.loads((DOCS / "results" / "two_judges.json").read_text())
    assert found["weights"] == fingerprints("sprites")
    page = (DOCS / "guides" / "evaluate.md").read_text()
    for line in two_judges.table(found).splitlines():
        assert line in page, line
    apart = found["apart"]["t_iou"]
    assert f"{len(apart)} of the 15 pairs of arms are in another order of t-IOU" in page
    for pair in apart:  # in none of them are both sure
        assert any(one["low"] <= 0 <= one["high"] for one in pair["differences"].values())
    assert all("untimed" not in pair["arms"] for pair in apart)


def test_the_guide_says_what_scoring_costs():
    films = json.loads((DOCS / "results" / "scoring.json").read_text())["films"]
    few, many = json.loads((DOCS / "results" / "scoring_many.json").read_text())["sets"]
    page = " ".join((DOCS / "guides" / "evaluate.md").read_text().split())
    assert f"{films['times_real_time']:.1f} times as fast as they play" in page
    assert f"t-IOU of {films['t_iou']:.3f}" in page
    for one in (films, few, many):
        assert one["missing"] == 0
        assert one is films or f"{one['largest_process_mib']:.0f} MiB" in page
    assert many["videos"] == 10 * few["videos"]
    assert many["largest_process_mib"] < 1.2 * few["largest_process_mib"]


def test_what_is_to_be_scored_is_whole(tmp_path, capsys):
    words = [
        "--work",
        str(tmp_path / "w"),
        "--out",
        str(tmp_path / "s.json"),
        "--videos",
        str(tmp_path),
    ]
    with pytest.raises(SystemExit) as error:
        scoring.main(words)
    assert error.value.code == 2 and "belong together" in capsys.readouterr().err


def test_names_of_a_few_files_are_a_set(tmp_path):
    videos, file = scoring.links(tmp_path, 11)
    names = sorted(path.stem for path in videos.iterdir())
    ids = [json.loads(line)["id"] for line in file.read_text().splitlines()]
    assert names == ids and len(ids) == 11
    assert (videos / "0010.mp4").samefile(videos / "0002.mp4")
