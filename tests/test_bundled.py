"""The model that comes with the package."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from docstring_examples import run_example
from rolled import rolled

import alchemint_jax as al
from alchemint_jax import weights
from alchemint_jax.evaluate.benchmark import fingerprints
from alchemint_jax.train.config import load_config
from alchemint_jax.train.metrics import read_metrics
from alchemint_jax.weights.directories import TINY_DECODER

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = ROOT / "examples"


@pytest.fixture(scope="module")
def pipe():
    return rolled(al.Pipeline.load("sprites"))


def test_it_is_small_and_has_a_card():
    directory = weights.locate("sprites")
    # These have bounds of their own.
    others = {directory / name for name in ("events", "untimed", TINY_DECODER)}
    own = [f for f in directory.rglob("*") if f.is_file() and not others & {f, *f.parents}]
    assert sum(f.stat().st_size for f in own) < 15.5e6
    assert (directory / "README.md").is_file()


def test_the_card_shows_the_committed_report_of_the_bundled_model():
    report = json.loads((ROOT / "docs" / "results" / "sprites_evaluation.json").read_text())
    assert report["settings"]["weights"] == fingerprints("sprites")
    card = (weights.locate("sprites") / "README.md").read_text()
    shown = ("t_iou", "frame_iou", "t_l2", "identity", "likeness")
    parts = {"all boards": report["overall"], **report["groups"]}
    for name in ("dissimilar subjects", "one interval"):
        del parts[name]
    for name, part in parts.items():
        figures = [f"{part[m]['mean']:.2f} ({_span(part[m])})" for m in shown]
        assert f"| {name} | {part['subjects']} | {' | '.join(figures)} |\n" in card
    for name, base in report["baselines"].items():
        name = name.replace("_", " ")
        assert f"| {name} (baseline) | | {base['t_iou']:.2f} | | {base['t_l2']:.2f} | | |\n" in card


def _span(figure):
    return f"{figure['low']:.2f} to {figure['high']:.2f}"


@pytest.mark.parametrize(
    "stage, curve",
    [
        ("sprites_vae.py:short", "sprites_vae_short"),
        ("sprites_vae.py:whole", "sprites_vae_whole"),
        ("sprites.py:pictures", "sprites_pictures"),
        ("sprites.py:clips", "sprites"),
    ],
)
def test_the_recipe_is_that_of_the_committed_curves(stage, curve):
    lines = read_metrics(ROOT / "docs" / "results" / f"{curve}.jsonl")
    train = load_config(ROOT / "configs" / stage).train
    assert train.total_steps == lines[-1]["step"]
    name, rate = train.optimizer.groups[0]
    key = f"lr/{name}" if len(train.optimizer.groups) > 1 else "lr"
    assert max(line.get(key, 0) for line in lines) == pytest.approx(rate, rel=0.01)


RENDER = (al.Pipeline.generate, al.Pipeline.render, al.evaluate.run_benchmark)


@pytest.mark.parametrize("name", RENDER, ids=lambda name: name.__name__)
def test_examples_in_docstrings_render(pipe, name, monkeypatch):
    """The pipeline that the other tests have compiled stands in for a fresh one."""
    monkeypatch.setattr(al.Pipeline, "load", lambda model, **options: pipe)
    monkeypatch.chdir(ROOT)
    run_example(name)


def test_same_seed_same_frames_and_other_seed_others(pipe):
    board = al.Storyboard.load(EXAMPLES / "two_subjects.yaml")
    first, again, other = (pipe.generate(board, seed=seed, steps=2) for seed in (0, 0, 1))
    assert first.shape == (33, 64, 64, 3)
    np.testing.assert_array_equal(first, again)
    assert np.any(first != other)
