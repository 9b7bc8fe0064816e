"""The model that comes with the package."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import alchemint_jax as al
from alchemint_jax import weights
from alchemint_jax.train.config import load_config
from alchemint_jax.train.metrics import read_metrics

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = ROOT / "examples"


@pytest.fixture(scope="module")
def pipe():
    return al.Pipeline.load("sprites")


def test_it_is_small_and_has_a_card():
    directory = weights.locate("sprites")
    assert sum(f.stat().st_size for f in directory.rglob("*") if f.is_file()) < 16e6
    assert (directory / "README.md").is_file()


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


def test_same_seed_same_frames_and_other_seed_others(pipe):
    board = al.Storyboard.load(EXAMPLES / "two_subjects.yaml")
    first, again, other = (pipe.generate(board, seed=seed, steps=4) for seed in (0, 0, 1))
    assert first.shape == (33, 64, 64, 3)
    np.testing.assert_array_equal(first, again)
    assert np.any(first != other)
