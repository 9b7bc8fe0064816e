"""What the guides say is enough to add something: each example is short, and works."""

from __future__ import annotations

from pathlib import Path

import jax
import numpy as np
import pytest
from additions.start_rope import StartRope
from docstring_examples import run_example

from alchemint_jax import rotary
from alchemint_jax.train.config import load_config
from alchemint_jax.train.run import build_task
from alchemint_jax.weights import config_from_dict, config_to_dict

ROOT = Path(__file__).parents[2]
FREQS = rotary.axis_frequencies(48, theta_t=20)


@pytest.fixture
def added(monkeypatch):
    """The two lines that the guide adds to alchemint_jax/rotary/__init__.py."""
    monkeypatch.setattr(rotary, "StartRope", StartRope, raising=False)
    monkeypatch.setitem(rotary.SCHEMES, "StartRope", StartRope)


def test_additions_are_short_and_shown_by_their_guides():
    paths = sorted((ROOT / "tests" / "docs" / "additions").glob("*.py"))
    guides = [path.read_text() for path in (ROOT / "docs" / "guides").glob("add_*.md")]
    assert paths
    for path in paths:
        assert len(path.read_text().splitlines()) < 60
        assert any(str(path.relative_to(ROOT)) in guide for guide in guides), path.name


def test_a_scheme_is_a_scheme_and_its_example_runs(added):
    assert isinstance(StartRope(), rotary.Scheme)
    run_example(StartRope)
    asked = np.array([[[3, 7], [1, 0]], [[1, 0], [1, 0]]], np.float32)  # the second is absent
    gains = np.asarray(jax.jit(lambda rows: StartRope().gains(rows, 9, FREQS))(asked))
    assert gains.shape == (2, 24) and np.isfinite(gains).all()
    np.testing.assert_array_equal(gains[1, : len(FREQS.t)], 0)
    assert StartRope().gains(asked[:, :0], 9, FREQS).shape == (2, 24)


def test_a_config_and_a_saved_model_can_name_a_scheme(added):
    config = load_config(f"{ROOT / 'configs' / 'sprites_schemes.py'}:WeRope")
    with config.unlocked():
        config.model.scheme = dict(name="StartRope", delay=1.0)
    model = build_task(config).model
    assert model.scheme == StartRope(delay=1.0)
    assert config_from_dict(type(model), config_to_dict(model)) == model
