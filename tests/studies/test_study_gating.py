"""What gating does: only the control differs, and the page says what the files have."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from alchemint_jax.evaluate.benchmark import fingerprints
from alchemint_jax.sampling.control import Gating
from alchemint_jax.worlds.sprites.cases import FIRST_SEED, sprites_cases
from alchemint_jax.worlds.sprites.world import sample_clip
from studies import gating, variants

pytestmark = pytest.mark.slow

DOCS = Path(__file__).resolve().parents[2] / "docs"


def test_only_the_control_differs_and_boards_are_compared_one_by_one():
    cases = sprites_cases(6, seed=3)
    truth = {
        case.id: sample_clip(i, seed=FIRST_SEED + 3, subjects=len(case.subjects)).video
        for i, case in enumerate(cases)
    }
    asked = []

    def draw(scenes, control, **settings):
        asked.append((control, [scene.id for scene in scenes], settings))
        videos = np.stack([truth[scene.id] for scene in scenes])
        return videos if control else np.full_like(videos, 120)

    found = gating.measure(draw, cases, seed=3, batch=6, progress=False)
    assert [control for control, *_ in asked] == [None, Gating()]
    assert asked[0][1:] == asked[1][1:]
    assert found["variants"]["ungated"]["t_iou"]["mean"] == 0
    assert found["variants"]["gated"]["t_iou"]["mean"] > 0.9
    assert found["differences"]["all"]["t_iou"]["low"] > 0.8
    assert found["gating"] == repr(Gating())
    figure = gating.draw_figure(found | {"limit": 6, "steps": 2})
    assert b"ungated" in figure and b"identity" in figure


def test_a_model_without_references_is_refused(tmp_path, capsys, monkeypatch):
    without = SimpleNamespace(limits=SimpleNamespace(max_subjects=0))
    monkeypatch.setattr(variants, "prepare_jax", lambda: None)
    monkeypatch.setattr(variants.Pipeline, "load", lambda model: without)
    with pytest.raises(SystemExit) as error:
        gating.main(["--model", "mine", "--out", str(tmp_path / "gating.json")])
    assert error.value.code == 2 and "takes no references" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["sprites_gating", "sprites_gating_untimed"])
def test_the_page_says_what_was_measured(name):
    found = json.loads((DOCS / "results" / f"{name}.json").read_text())
    if name == "sprites_gating":
        assert found["weights"] == fingerprints("sprites")
    assert found["weights"]["vae"] == fingerprints("sprites")["vae"]
    assert found["limit"] == 128 and found["gating"] == repr(Gating())
    page = " ".join((DOCS / "guides" / "gating.md").read_text().split())
    lines = []
    for variant, parts in found["groups"].items():
        for group, own in parts.items():
            cells = [
                "{mean:.2f} ({low:.2f} to {high:.2f})".format(**own[figure])
                for figure in gating.SHOWN
            ]
            lines.append(f"| {group}, {variant} | {' | '.join(cells)} |")
    for group, own in found["differences"].items():
        cells = [
            "{mean:+.2f} ({low:+.2f} to {high:+.2f})".format(**own[figure])
            for figure in gating.SHOWN
        ]
        lines.append(f"| {group}, difference | {' | '.join(cells)} |")
    for line in lines:
        assert line in page
    kept = (DOCS / "results" / f"{name}.svg").read_bytes()
    assert kept.startswith(b"<?xml") and b"several intervals" in kept
