"""The small decoder of the bundled model: shape and timing of the whole one, and how near it is."""

from __future__ import annotations

import json
from pathlib import Path

import jax
import numpy as np
import pytest

from alchemint_jax import weights
from alchemint_jax.errors import WeightsError
from alchemint_jax.models.vae import VAE, TinyDecoder
from alchemint_jax.sampling.loading import load_autoencoder, load_tiny
from alchemint_jax.scene.clock import Clock
from alchemint_jax.train.config import load_config
from alchemint_jax.train.run import build_task
from studies import tiny_decoder

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parent.parent
FOUND = json.loads((ROOT / "docs" / "results" / "tiny_decoder.json").read_text())


def test_it_is_what_its_recipe_makes_and_small():
    task = build_task(load_config(ROOT / "configs" / "sprites_tiny_decoder.py"))
    for name in ("sprites", "sprites/fast"):
        vae, _, (tiny, params) = load_autoencoder(weights.locate(name), "tiny")
        assert isinstance(vae, VAE) and isinstance(tiny, TinyDecoder)
        assert tiny.config == task.model and task.teacher == "sprites"
    assert sum(x.size for x in jax.tree.leaves(params)) == FOUND["parameters"]
    file = weights.locate("sprites") / "tiny_decoder.safetensors"
    assert file.stat().st_size <= 300_000


def test_it_has_the_shape_and_the_timing_of_the_whole_decoder():
    vae = weights.open_component("sprites", "vae")[0]
    tiny, params = load_tiny(weights.locate("sprites"))
    run = jax.jit(lambda z: tiny.apply({"params": params}, z, method="decode"))
    latents = np.random.default_rng(0).standard_normal((1, 4, 4, 4, 8)).astype(np.float32)
    plain = run(latents)
    whole = jax.eval_shape(
        lambda p: vae.apply({"params": p}, latents, method="decode"), vae.abstract_params()
    )
    assert plain.shape == whole.shape == (1, 13, 16, 16, 3)
    for i in range(4):
        other = latents.copy()
        other[:, i] += 1
        changed = np.abs(run(other) - plain).max((0, 2, 3, 4)) > 1e-6
        assert np.argmax(changed) == Clock.for_latents(4, 4).held([i, i])[0]


def test_the_page_says_what_was_measured():
    page = (ROOT / "docs" / "guides" / "wan.md").read_text()
    assert tiny_decoder.markdown(FOUND) in page
    for shown in FOUND["psnr"].values():
        assert shown["small decoder"] > shown["linear map"] + 3


def test_a_model_without_one_is_told_so(tmp_path):
    with pytest.raises(WeightsError, match="has no small decoder"):
        load_autoencoder(tmp_path, "tiny")
    assert load_tiny(tmp_path) is None
