"""The study of students: noise and boards are shared, nothing is made twice, and what it says."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from alchemint_jax.evaluate import students
from alchemint_jax.evaluate.benchmark import fingerprints
from studies import few_steps

pytestmark = pytest.mark.slow

DOCS = Path(__file__).resolve().parents[2] / "docs"


@pytest.fixture
def found():
    return json.loads((DOCS / "results" / "few_steps.json").read_text())


def test_noise_goes_by_board_and_not_by_batch(monkeypatch, tmp_path):
    """A model whose latents are its noise: boards are told apart, and the second noise is new."""
    monkeypatch.setattr(few_steps, "latent_shape", lambda pipe, cases: (2, 3, 3, 1))
    batches = []

    def sample(models, conditions, noise, plan):
        batches.append(len(noise))
        return noise

    monkeypatch.setattr(few_steps, "sample_latents", sample)
    pipe = SimpleNamespace(models=None, conditions=lambda cases: None)
    asked = {"seed": 3, "again": 2}
    kept = [few_steps.Kept(tmp_path / f"{i}.npz", "a") for i in range(2)]
    one = few_steps.make(pipe, [None] * 5, asked, None, kept[0], batch=2)
    other = few_steps.make(pipe, [None] * 5, asked, None, kept[1], batch=3)
    np.testing.assert_array_equal(one.samples, other.samples)
    np.testing.assert_array_equal(one.again, other.again)
    assert one.samples.shape == (5, 2, 3, 3, 1) and len(one.again) == 2
    assert len({x.tobytes() for x in [*one.samples, *one.again]}) == 7

    batches.clear()
    again = few_steps.make(pipe, [None] * 6, asked | {"again": 3}, None, kept[0], batch=2)
    assert batches == [2], "a board more, and one more from other noise"
    np.testing.assert_array_equal(again.samples[:5], one.samples)
    other_weights = few_steps.Kept(kept[0].file, "b")
    assert kept[0].read() and not other_weights.read()


def test_ways_are_compared_with_the_teacher_board_by_board():
    rng = np.random.default_rng(0)
    sharp = few_steps.Made(rng.normal(size=(6, 3, 8, 8, 2)), rng.normal(size=(2, 3, 8, 8, 2)))
    smear = lambda x: (x + np.roll(x, 1, 2) + np.roll(x, 1, 3)) / 3  # noqa: E731
    blurred = few_steps.Made(smear(sharp.samples), smear(sharp.again))
    made = {few_steps.TEACHER: sharp, "itself": sharp, "blurred": blurred}
    row = {"seed": 0, "subject": 0, "asked": [[0, 1]], "t_iou": 0.9, "identity": 1.0}
    rows = [row | {"case": f"board {i}"} for i in range(6)]
    better = [own | {"t_iou": 1.0} for own in rows]
    found = few_steps.compared(made, {few_steps.TEACHER: rows, "itself": rows, "blurred": better})
    assert list(found) == ["itself", "blurred"]
    assert found["itself"]["missed"] == []
    assert found["itself"]["edges"] == {"mean": 1.0, "low": 1.0, "high": 1.0}
    assert found["blurred"]["t_iou"]["mean"] == pytest.approx(0.1)
    assert any(line.startswith("edge energy") for line in found["blurred"]["missed"])


def test_the_figures_are_those_of_the_bundled_models(found):
    for who in ("teacher", "student"):
        assert found["weights"][who] == fingerprints(found[who])
    assert (found["teacher"], found["student"]) == ("sprites", "sprites/fast")
    standard = students.Standard(**found["standard"])
    assert standard == students.Standard()
    for figures in found["ways"].values():
        means = {name: figures[name]["mean"] for name in students.TITLES}
        assert standard.missed(means) == figures["missed"]
    assert found["ways"]["teacher, 4 steps, no guidance"]["missed"], "blur must not pass"


def test_the_page_says_what_was_measured(found):
    page = " ".join((DOCS / "guides" / "few_steps.md").read_text().split())
    assert f"On {found['limit']} boards" in page and f"{found['again']} of them" in page
    form = "{mean:.3f} ({low:.3f} to {high:.3f})"
    signed = "{mean:+.3f} ({low:+.3f} to {high:+.3f})"
    for name, figures in found["ways"].items():
        forms = {f: signed if f in few_steps.TIMED else form for f in students.TITLES}
        cells = [forms[f].format(**figures[f]) for f in students.TITLES]
        assert f"| {name} | {found['passes'][name]} | {' | '.join(cells)} |" in page
        for line in figures["missed"] if name == few_steps.STUDENT else ():
            assert line in page
