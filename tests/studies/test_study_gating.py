"""What gating does: only the control differs, and the page says what the files have."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from alchemint_jax.evaluate.benchmark import fingerprints
from alchemint_jax.sampling.control import Gating
from alchemint_jax.scene import Clock
from alchemint_jax.scene.packing import pack
from alchemint_jax.worlds.sprites.cases import FIRST_SEED, sprites_cases
from alchemint_jax.worlds.sprites.world import sample_clip
from studies import gating, variants

pytestmark = pytest.mark.slow

DOCS = Path(__file__).resolve().parents[2] / "docs"


def test_only_intervals_and_control_differ_and_boards_are_compared_one_by_one():
    cases = sprites_cases(4, seed=3)
    truth = {
        case.id: sample_clip(i, seed=FIRST_SEED + 3, subjects=len(case.subjects)).video
        for i, case in enumerate(cases)
    }
    asked = []

    def draw(scenes, control, **settings):
        spans = [subject.spans for scene in scenes for subject in scene.subjects]
        asked.append((control, spans, [scene.id for scene in scenes], settings))
        videos = np.stack([truth[scene.id] for scene in scenes])
        return videos if control else np.full_like(videos, 120)

    found = gating.measure(draw, cases, seed=3, batch=4, progress=False)
    true = [subject.spans for case in cases for subject in case.subjects]
    always = [((0, 33),)] * len(true)
    assert [spans for _, spans, *_ in asked] == [true, true, always, always]
    assert all(entry[2:] == asked[0][2:] for entry in asked)
    gates = [control and control.gating for control, *_ in asked]
    assert gates == [None, Gating(edge=0), None, Gating(edge=10.0)]
    wanted = Clock(8, 33, 4).latent(pack(cases, 3).intervals)
    np.testing.assert_array_equal(asked[3][0].intervals, wanted)
    for name, other in gating.PAIRS.items():
        assert found["variants"][other]["t_iou"]["mean"] == 0
        assert found["variants"][name]["t_iou"]["mean"] > 0.9
        assert found["differences"][name]["all"]["t_iou"]["low"] > 0.8
    figure = gating.draw_figure(found | {"limit": 4, "steps": 2})
    assert b"untimed, gated" in figure and b"identity" in figure


def test_a_model_without_references_is_refused(tmp_path, capsys, monkeypatch):
    without = SimpleNamespace(limits=SimpleNamespace(max_subjects=0))
    monkeypatch.setattr(variants, "prepare_jax", lambda: None)
    monkeypatch.setattr(variants.Pipeline, "load", lambda model: without)
    with pytest.raises(SystemExit) as error:
        gating.main(["--model", "mine", "--out", str(tmp_path / "gating.json")])
    assert error.value.code == 2 and "takes no references" in capsys.readouterr().err


def test_the_page_says_what_was_measured():
    found = json.loads((DOCS / "results" / "sprites_gating.json").read_text())
    assert found["weights"] == fingerprints("sprites")
    gates = {name: gate for name, (_, gate) in gating.VARIANTS.items() if gate}
    assert found["gating"] == {name: repr(gate) for name, gate in gates.items()}
    page = " ".join((DOCS / "guides" / "gating.md").read_text().split())
    assert f"{found['limit']} boards in {found['steps']} sampling steps" in page
    forms = {"groups": "{mean:.2f} ({low:.2f} to {high:.2f})"}
    forms["differences"] = "{mean:+.2f} ({low:+.2f} to {high:+.2f})"
    for kind, form in forms.items():
        for variant, parts in found[kind].items():
            for group in ("all", "several intervals"):
                own = parts[group]
                cells = [form.format(**own[figure]) for figure in gating.SHOWN]
                title = f"{group}, {variant}" if kind == "groups" else f"{group}, {variant}: gain"
                assert f"| {title} | {' | '.join(cells)} |" in page
    kept = (DOCS / "results" / "sprites_gating.svg").read_bytes()
    assert kept.startswith(b"<?xml") and b"untimed, gated" in kept
