"""The CLIP vision tower and its pictures, against what transformers made of them."""

from __future__ import annotations

import functools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file

from alchemint_jax import weights
from alchemint_jax.errors import ConfigError
from alchemint_jax.models.clip import VARIANTS, CLIPVision, CLIPVisionConfig, preprocess

GOLDEN = Path(__file__).parents[1] / "goldens" / "clip"


@functools.cache
def _golden():
    module, params = weights.load(GOLDEN, "image_encoder")
    return module.config, params, load_file(GOLDEN / "io.safetensors")


def _states(config, params, pixels, dtype=jnp.float32):
    return jax.jit(CLIPVision(config, dtype).apply)({"params": params}, jnp.asarray(pixels))


def _error(ours, theirs):
    return np.abs(np.asarray(ours, np.float32) - theirs).max() / np.abs(theirs).max()


def test_states_are_those_of_transformers():
    config, params, arrays = _golden()
    states = _states(config, params, arrays["pixels"])
    assert states.penultimate.shape == (2, 10, 32)
    assert _error(states.penultimate, arrays["penultimate"]) < 1e-5
    assert _error(states.pooled, arrays["pooled"]) < 1e-5


def test_bfloat16_comes_close():
    config, params, arrays = _golden()
    states = _states(config, params, arrays["pixels"], jnp.bfloat16)
    assert states.penultimate.dtype == jnp.bfloat16
    assert 1e-4 < _error(states.penultimate, arrays["penultimate"]) < 3e-2


def test_images_are_those_of_transformers():
    _, _, arrays = _golden()
    for i in range(2):
        pixels = preprocess(arrays[f"picture_{i}"], 42)
        assert pixels.dtype == np.float32
        np.testing.assert_allclose(pixels, arrays["pixels"][i], rtol=0, atol=1e-6)


def test_the_centre_is_cut_out_and_the_sides_are_lost():
    image = np.zeros((20, 60, 3), np.uint8)
    image[:, 20:40] = 255
    white = preprocess(image, 20)
    assert white.shape == (20, 20, 3)
    np.testing.assert_array_equal(white[:, 3:17], np.broadcast_to(white[10, 10], (20, 14, 3)))
    assert white[10, 10, 0] > 1.9
    assert preprocess(np.full((30, 10, 3), 9, np.uint8)).shape == (224, 224, 3)


def test_another_size_is_named():
    config, params, _ = _golden()
    with pytest.raises(ValueError, match="pictures are 28 x 42; this tower takes squares of 42"):
        _states(config, params, np.zeros((1, 28, 42, 3), np.float32))


def test_sizes_of_wans_tower():
    config = VARIANTS["vit-h-14"]
    assert config.n_tokens == 257
    leaves = jax.tree.leaves(CLIPVision(config).abstract_params())
    assert sum(x.size for x in leaves) == 630_766_080  # tests/parity/parity_clip.py


@pytest.mark.parametrize("fields", [{"image_size": 225}, {"n_heads": 7}])
def test_impossible_sizes_are_named(fields):
    with pytest.raises(ConfigError, match=str(next(iter(fields.values())))):
        CLIPVisionConfig(**fields)
