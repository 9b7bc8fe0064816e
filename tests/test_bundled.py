"""The model that comes with the package."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import alchemint_jax as al
from alchemint_jax import weights

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"


@pytest.fixture(scope="module")
def pipe():
    return al.Pipeline.load("sprites")


def test_it_is_small_and_has_a_card():
    directory = weights.locate("sprites")
    assert sum(f.stat().st_size for f in directory.rglob("*") if f.is_file()) < 16e6
    assert (directory / "README.md").is_file()


def test_same_seed_same_frames_and_other_seed_others(pipe):
    board = al.Storyboard.load(EXAMPLES / "two_subjects.yaml")
    first, again, other = (pipe.generate(board, seed=seed, steps=4) for seed in (0, 0, 1))
    assert first.shape == (33, 64, 64, 3)
    np.testing.assert_array_equal(first, again)
    assert np.any(first != other)
