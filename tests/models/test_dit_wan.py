"""The transformer against diffusers' (tests/goldens/dit, see tests/parity/reference_dit.py)."""

from __future__ import annotations

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file

from alchemint_jax import weights
from alchemint_jax.models.dit import DiT

pytestmark = pytest.mark.slow

GOLDENS = Path(__file__).parents[1] / "goldens" / "dit"


def _golden(name, size):
    module, params = weights.load(GOLDENS / name, "transformer")
    arrays = load_file(GOLDENS / name / "io.safetensors")
    given = {k.removeprefix(f"{size}."): v for k, v in arrays.items() if k.startswith(size)}
    wanted = given.pop("velocity")
    return module.config, params, {k: jnp.asarray(v) for k, v in given.items()}, wanted


def _error(config, params, given, wanted, dtype=jnp.float32):
    ours = np.asarray(jax.jit(DiT(config, dtype).apply)({"params": params}, **given))
    return np.abs(ours - wanted).max() / np.abs(wanted).max()


@pytest.mark.parametrize("size", ["video", "picture"])
@pytest.mark.parametrize("name", ["small", "odd"])
def test_velocity_is_that_of_diffusers(name, size):
    assert _error(*_golden(name, size)) <= 2e-5


def test_bfloat16_comes_close():
    assert 1e-4 < _error(*_golden("small", "video"), jnp.bfloat16) < 2e-2


@pytest.mark.parametrize("path", ["norm_cross_scale", "modulation"])
def test_a_wrong_layer_order_would_be_seen(path):
    """The tolerance tells layers apart: with two of them exchanged nothing fits any more."""
    config, params, given, wanted = _golden("small", "picture")
    blocks = params["blocks"] | {path: params["blocks"][path][jnp.asarray([1, 0, 2])]}
    assert _error(config, params | {"blocks": blocks}, given, wanted) > 1e-3
