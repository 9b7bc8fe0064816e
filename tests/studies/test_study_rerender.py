"""What the study of renders that start from earlier ones changes and compares, and its figures."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from alchemint_jax.errors import ConfigError
from alchemint_jax.evaluate.tracker import Sighting
from alchemint_jax.sampling.settings import Settings
from alchemint_jax.scene import Clock, Scene, Spans, Subject
from studies import rerender

ROOT = Path(__file__).resolve().parents[2]
FOUND = json.loads((ROOT / "docs" / "results" / "rerender.json").read_text())


def scene(*spans):
    subjects = tuple(Subject("disc", Spans(one)) for one in spans)
    return Scene("x", "discs", Clock(8.0, 33, 4), subjects)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ([(0, 4), (8, 20)], ((0, 4), (8, 28))),
        ([(8, 30)], ((8, 22),)),
        ([(0, 8), (28, 33)], ((0, 8), (20, 33))),
    ],
)
def test_one_boundary_is_moved_by_a_second(before, after):
    changed = rerender.edited(scene(before, [(2, 9)]))
    assert changed.subjects[0].spans == after and changed.subjects[1].spans == ((2, 9),)


def test_spans_are_alike_within_a_frame():
    spans = Spans([(4, 9), (12, 20)])
    assert rerender.alike(spans, Spans([(5, 8), (12, 21)]))
    assert not rerender.alike(spans, Spans([(6, 9), (12, 20)]))
    assert not rerender.alike(spans, Spans([(4, 9)])) and rerender.alike(Spans(), Spans())


class Bright:
    """A tracker that sees a subject in bright frames."""

    def track(self, video, case):
        assert not case.subjects[0].spans
        return [Sighting(video.mean((1, 2, 3)) > 100, "disc", "disc")]


def test_the_bound_is_of_latents_and_of_boundaries(monkeypatch):
    monkeypatch.setattr(rerender, "TRACKER", Bright())
    case = scene([(8, 16)])
    shown = np.zeros((1, 33, 2, 2, 3), np.uint8)
    shown[:, 8:16] = 255
    late = np.roll(shown, 2, 1)
    full = np.random.default_rng(0).standard_normal((1, 9, 2, 2, 3)).astype(np.float32)
    same = rerender.compared([case], full, shown, full, shown)
    assert same["bound_held"] and same["t_iou"] == 1 and same["relative_mse"]["most"] == 0
    moved = rerender.compared([case], full, late, full, shown)
    assert not moved["bound_held"] and moved["spans_alike"] == 0
    assert moved["t_iou"] == pytest.approx(6 / 10)
    blurred = rerender.compared([case], 0.8 * full, shown, full, shown)
    assert not blurred["bound_held"] and blurred["spans_alike"] == 1


def test_near_and_far_by_hand():
    """Frames 8 to 15 are latent frames 2 (in part), 3 and 4 (in part)."""
    before, after = scene([(8, 12)]), scene([(8, 20)])
    full = np.tile(np.array([[-1.0, 1.0]]), (9, 1))[None, ..., None, None]  # its variance is 1
    other = full.copy()
    other[:, 4] += 2.0  # of frames 13 to 16, which are changed
    other[:, 7] += 1.0
    near, far = rerender.far_and_near([before], [after], other, full).values()
    assert near == pytest.approx(4 / 3)  # latent frames 3, 4 and 5 have some of frames 12 to 19
    assert far == pytest.approx(1 / 4)  # 0, 1, 7 and 8


def test_a_solver_that_remembers_is_refused():
    plan = Settings(size=(8, 8), max_frames=5, text_length=8, solver="unipc").plan()
    with pytest.raises(ConfigError, match="unipc remembers"):
        rerender.way(None, [], plan, None, 0, 1)


def test_the_guide_says_what_was_measured():
    page = " ".join((ROOT / "docs" / "guides" / "studio.md").read_text().split())
    assert FOUND["bound"] == rerender.BOUND and FOUND["moved_frames"] == rerender.MOVED
    models = FOUND["models"]
    assert {*models} == {
        *rerender.STARTS
    } and f"a bar of {models['sprites']['boards']} boards" in page
    for name, least in (("sprites", 4), ("sprites/fast", 1)):
        found = models[name]
        first = found["left_out"][str(least)]
        most = first["relative_mse"]["most"]
        assert not first["bound_held"] and most > FOUND["bound"]["relative_mse"]
        assert f"{least} of the {found['steps']} steps of `{name}`" in page
        assert f"up to {most:.3f}" in page
        assert f"{found['first_and_full']['far']:.3f} (`{name}`)" in page
    assert f"{1 - first['spans_alike']:.0%}".replace("%", " %") + " of the subjects" in page
