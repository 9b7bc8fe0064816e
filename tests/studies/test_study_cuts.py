"""The study of cuts: each is made by one near it, what is left was not asked for."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from marks import assert_charts_alike

from studies import cuts as study

pytestmark = pytest.mark.slow

DOCS = Path(__file__).resolve().parents[2] / "docs"


@pytest.fixture(scope="module")
def boards():
    return study.boards(4, seed=3)


def flat(starts):
    """A grey video of 33 frames, darker or lighter from each of these on."""
    shade = 40 + 60 * (np.arange(33)[:, None] >= np.array(starts)).sum(1)
    return np.broadcast_to(shade[:, None, None, None], (33, 36, 64, 3)).astype(np.uint8)


def test_a_cut_is_made_by_one_near_it_and_by_no_other(boards):
    case = dataclasses.replace(boards[0].case, cuts=(9, 21))

    def figures(*starts):
        row = study.score(case, flat(starts))
        return row["made"], row["extra"], row["exact"]

    assert figures(9, 21) == (1, 0, 1)
    assert figures(11, 19) == (1, 0, 1)
    assert figures(9) == (0.5, 0, 0)
    assert figures(9, 15, 21) == (1, 1, 0)
    assert figures(12) == (0, 1, 0)
    assert study.score(dataclasses.replace(case, cuts=()), flat([]))["exact"] == 1
    assert study.score(dataclasses.replace(case, cuts=()), flat([9]))["made"] is None


def test_a_model_that_hears_cuts_is_told_from_one_that_does_not(boards):
    asked = []

    def hears(scenes, **settings):
        asked.append([scene.cuts for scene in scenes])
        return np.stack([flat(scene.cuts) for scene in scenes])

    found = study.measure(hears, boards, seed=0, batch=4, progress=False)
    assert asked == [[change(b.case) for b in boards] for change in study.VARIANTS.values()]
    assert all(
        len(cuts) == 1 and min(abs(cuts[0] - c) for c in b.case.cuts) >= 4
        for b, cuts in zip(boards, asked[2], strict=True)
    )
    assert all(own["exact"]["mean"] == 1 for own in found["variants"].values())

    def deaf(scenes, **settings):
        return np.stack([flat([17])] * len(scenes))

    other = study.measure(deaf, boards, seed=0, batch=4, progress=False)["variants"]
    assert other["none"]["exact"]["mean"] == 0 and other["none"]["extra"]["mean"] == 1
    assert other["cuts"]["exact"]["mean"] < 1
    assert study.table(found | {"steps": 1}).count("\n") == 2 + 4
    assert b"<svg" in study.draw_figure(found | {"steps": 1})


def test_the_page_says_what_was_measured():
    found = json.loads((DOCS / "results" / "sprites_cuts.json").read_text())
    page = (DOCS / "encodings" / "rerope.md").read_text()
    assert study.table(found) in page
    assert f"On {found['boards']} boards" in page and f"in {found['steps']} sampling steps" in page
    assert_charts_alike(
        study.draw_figure(found), (DOCS / "results" / "sprites_cuts.svg").read_bytes()
    )
