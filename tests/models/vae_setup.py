"""A tiny video autoencoder for the tests."""

from __future__ import annotations

import math
from typing import Any

import jax
import numpy as np

from alchemint_jax.models.vae import VAEConfig

TINY = VAEConfig(
    base_dim=4,
    dim_mult=(1, 2, 2),
    num_res_blocks=1,
    temporal_downsample=(True, True),
    z_dim=3,
    latents_mean=(0.3, -0.2, 0.1),
    latents_std=(0.5, 1.5, 2.0),
)


def normal(seed: int, *shape: int) -> jax.Array:
    return jax.device_put(np.float32(np.random.default_rng(seed).standard_normal(shape)))


def random_params(abstract: Any, scale: float) -> Any:
    """Parameters that no test can be fooled by: no zero biases, no gains of one."""
    leaves, structure = jax.tree.flatten(abstract)
    rng = np.random.default_rng(0)
    return jax.tree.unflatten(
        structure,
        [
            jax.device_put(
                np.float32(
                    rng.standard_normal(x.shape) * scale / math.sqrt(math.prod(x.shape[:-1]))
                )
            )
            if len(x.shape) > 1
            else jax.device_put(np.float32(1 + 0.3 * rng.standard_normal(x.shape)))
            for x in leaves
        ],
    )
