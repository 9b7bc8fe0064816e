"""Ways to say when: only control and pictures differ, and the pages say what the file has."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from alchemint_jax.rotary import FittedRope
from alchemint_jax.worlds.sprites.cases import FIRST_SEED, sprites_cases
from alchemint_jax.worlds.sprites.world import sample_clip
from studies import timing_methods as study
from studies import variants

pytestmark = pytest.mark.slow

DOCS = Path(__file__).resolve().parents[2] / "docs"


def test_only_control_and_pictures_differ(monkeypatch):
    cases = sprites_cases(3, seed=3)
    truth = {
        case.id: sample_clip(i, seed=FIRST_SEED + 3, subjects=len(case.subjects)).video
        for i, case in enumerate(cases)
    }
    asked = []

    @dataclasses.dataclass(frozen=True)
    class Pipe:
        pictures: bool = True

        def render(self, scenes, control, **settings):
            asked.append((self.pictures, control, [scene.id for scene in scenes], settings))
            videos = np.stack([truth[scene.id] for scene in scenes])
            return videos if control else np.full_like(videos, 120)

    monkeypatch.setattr(study, "without_pictures", lambda pipe: Pipe(False))
    found = study.measure(Pipe(), cases, seed=3, batch=2, progress=False)
    names = [name for names in study.GIVEN.values() for name in names]
    controls = [control for _, control, *_ in asked]
    assert controls[:6:2] + controls[6:] == [study.METHODS[name] for name in names]
    assert [pictures for pictures, *_ in asked] == [True] * 6 + [False] * 2
    assert all(entry[2:] == asked[i % 2][2:] for i, entry in enumerate(asked[:6]))
    assert all(entry[2:] == asked[0][2:] for entry in asked[6:])
    for key, summary in found["variants"].items():
        plain = key.endswith(study.PLAIN)
        assert (summary["t_iou"]["mean"] == 0) == plain and summary["cost"]["mean"] > 0
        assert (summary["accuracy"]["mean"] > 0.95) != plain
        assert (key in found["differences"]) != plain
    assert found["variants"]["pictures: no control"]["cost"]["mean"] == 1
    report = found | {"limit": 3, "steps": 2}
    figure = study.draw_figure(report)
    assert b"gating, TempoControl" in figure and b"words alone" in figure
    assert study.table(report).count("\n") == 2 + 5 + 3


def test_frames_and_costs_are_counted():
    row = {"n_frames": 10, "asked": [[0, 4]], "shown": [[2, 4], [8, 9]]}
    assert study.frames_right(row) == 0.7
    seconds = {"words alone: no control": [9.0, 1.0, 3.0], "words alone: a": [30.0, 2.0, 3.0]}
    assert study.cost(seconds, "words alone: a") == {"mean": 1.25, "low": 1.0, "high": 2.0}


@pytest.mark.parametrize(
    ("slots", "scheme", "says"), [(0, None, "takes no references"), (3, FittedRope, "knows time")]
)
def test_models_that_say_nothing_here_are_refused(
    tmp_path, capsys, monkeypatch, slots, scheme, says
):
    config = SimpleNamespace(scheme=scheme and scheme())
    dit = SimpleNamespace(config=config)
    pipe = SimpleNamespace(
        limits=SimpleNamespace(max_subjects=slots), models=SimpleNamespace(dit=dit)
    )
    monkeypatch.setattr(variants, "prepare_jax", lambda: None)
    monkeypatch.setattr(variants.Pipeline, "load", lambda model: pipe)
    with pytest.raises(SystemExit) as error:
        study.main(["--model", "mine", "--out", str(tmp_path / "timing.json")])
    assert error.value.code == 2 and says in capsys.readouterr().err


def test_pages_say_what_was_measured():
    found = json.loads((DOCS / "results" / "timing_methods.json").read_text())
    methods = {name: repr(control) for name, control in study.METHODS.items() if control}
    assert found["methods"] == methods
    page = " ".join((DOCS / "guides" / "timing_methods.md").read_text().split())
    assert f"{found['limit']} boards in {found['steps']} sampling steps" in page
    for line in study.table(found).splitlines():
        assert line in page, line
    kept = (DOCS / "results" / "timing_methods.svg").read_bytes()
    assert kept.startswith(b"<?xml") and b"gating, TempoControl" in kept
