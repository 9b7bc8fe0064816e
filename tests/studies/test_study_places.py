"""The study of places of references: boards, comparison with Kaleido's order, table and figure."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from alchemint_jax.train.config import run_file
from alchemint_jax.worlds.sprites.cases import sprites_clips
from alchemint_jax.worlds.sprites.world import World
from studies import reference_places as study

pytestmark = pytest.mark.slow

DOCS = Path(__file__).resolve().parents[2] / "docs"


def rows(likeness):
    """Twelve subjects of twelve boards, a little unlike one another."""
    return [
        {
            **{"case": f"case {i}", "subject": 0, "seed": 0, "asked": [[0, 1]]},
            **{"identity": 1.0, "likeness": likeness + 0.01 * (i % 3), "confusion": None},
        }
        for i in range(12)
    ]


def test_boards_are_pictures_of_subjects_that_are_all_there():
    cases = study.boards(5, seed=7)
    assert [int(case.clock.frames) for case in cases] == [1] * 5
    assert all(subject.spans == ((0, 1),) for case in cases for subject in case.subjects)


def test_the_pictures_themselves_show_who_is_asked_for():
    cases, clips = zip(*sprites_clips(5, 7, World.short(1)), strict=True)
    rows = study.measure(cases, np.stack(clips))
    assert all(row["identity"] == 1 and row["likeness"] > 0.7 for row in rows)
    nothing = study.measure(cases, np.full_like(np.stack(clips), 128))
    assert all(row["identity"] == 0 for row in nothing)


def test_the_order_is_held_against_the_papers():
    asked = {arm: rows(figure) for arm, figure in study.PAPER.items()}
    found = study.compare(asked | {"last": rows(0.5)})
    assert found["kendall"]["likeness"] == pytest.approx(1)
    pairs = found["pairs"]["likeness"]
    assert len(pairs["as in the paper"]) == 8 * 7 / 2 and not pairs["the other way"]
    assert found["pairs"]["identity"] == {"as in the paper": [], "the other way": []}
    assert np.isnan(found["kendall"]["identity"])  # all alike: no order
    turned = {arm: rows(1 - figure) for arm, figure in study.PAPER.items()}
    other = study.compare(turned)
    assert other["kendall"]["likeness"] == pytest.approx(-1)
    assert not other["pairs"]["likeness"]["as in the paper"]
    assert other["pairs"]["likeness"]["the other way"][0] == "apart over first"
    assert study.table(found).count("\n") == 2 + 9
    assert b"overlapping" in study.draw_figure(found | {"limit": 12})


def test_arms_of_the_config_are_those_of_the_paper_and_one_more():
    arms = run_file(study.parser().parse_args(["--workdir", "w", "--out", "o"]).config)["ARMS"]
    assert set(arms) == set(study.PAPER) | {"last"}
    assert next(iter(arms)) == study.BASELINE


def test_the_first_arm_is_the_one_that_others_are_compared_to(tmp_path, capsys):
    with pytest.raises(SystemExit):
        study.main(["--arms", "last", "--workdir", "w", "--out", str(tmp_path / "a.json")])
    assert "first" in capsys.readouterr().err


def test_the_page_says_what_the_file_has():
    found = json.loads((DOCS / "results" / "sprites_rrope.json").read_text("utf-8"))
    assert study.table(found) in (DOCS / "encodings" / "rrope.md").read_text("utf-8")
    assert found["limit"] == 96 and list(found["arms"]) == ["first", "last", "overlapping"]
