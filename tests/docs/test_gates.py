"""The controls that a guide shows steer."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from additions.gates import Gate, Pull

from alchemint_jax.models.dit import DiT, DiTConfig
from alchemint_jax.models.dit.conditioning import Conditions
from alchemint_jax.sampling import Guidance
from alchemint_jax.sampling.sample import Models, sample_latents
from alchemint_jax.sampling.settings import Plan

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def models():
    """One layer: a later one looks at frames that have looked at what is hidden from a frame."""
    dit = DiT(
        DiTConfig(
            dim=24, n_heads=2, n_layers=1, ffn_dim=32, in_channels=3, out_channels=3,
            text_dim=10, freq_dim=16, slots=2,
        )
    )  # fmt: skip
    rng = np.random.default_rng(0)
    params = jax.tree.map(
        lambda x: jax.device_put(np.float32(rng.normal(0.05, 0.3, x.shape))), dit.abstract_params()
    )
    return Models(dit, params, None, {})


def sampled(models, control, reference=1.0, steps=1):
    """Latents of a clip of 5 latent frames, in whose last three the second subject is on screen."""
    rng = np.random.default_rng(1)

    def normal(*shape):
        return jax.device_put(np.float32(rng.standard_normal(shape)))

    conditions = Conditions(
        text=normal(1, 5, 10),
        null_text=normal(1, 5, 10),
        references=normal(1, 2, 4, 4, 3).at[:, 1].multiply(reference),
        used=jnp.ones((1, 2), bool),
        intervals=jnp.asarray([[[[0.0, 1.0]], [[2.0, 4.0]]]]),
        tags=normal(1, 2, 3, 10),
        tag_mask=jnp.ones((1, 2, 3), bool),
    )
    noise, plan = normal(1, 5, 4, 4, 3), Plan(steps, 3.0, Guidance(0, 0, 1))
    return np.asarray(sample_latents(models, conditions, noise, plan, control=control))[0]


def test_controls_steer(models):
    def change(control):
        """How much a frame depends on the picture of the second subject."""
        return np.abs(sampled(models, control, -1) - sampled(models, control)).max((1, 2, 3))

    gated, soft, free = (change(control) for control in (Gate(), Gate(-2.0), None))
    assert (gated[:2] == 0).all() and (gated[2:] > 0).all()
    assert (soft > 0).all() and (free > 0).all()
    still, pulled = (sampled(models, control) for control in (Pull(0.0), Pull(0.5)))
    np.testing.assert_allclose(still, sampled(models, None), atol=1e-5)
    assert np.isfinite(pulled).all() and np.abs(pulled - still).max() > 1e-3
