"""How much each latent frame attends to the picture of each subject, in a clip that is done."""

from __future__ import annotations

from functools import partial
from typing import cast

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from alchemint_jax import flow
from alchemint_jax.models.dit import Attended, DiT, Probe
from alchemint_jax.models.dit.conditioning import Conditions, model_inputs
from alchemint_jax.sampling.pipeline import Pipeline
from alchemint_jax.scene.scene import Scene

TIME = 0.8
"""Of the flow, where 1 is noise: here the model decides what goes where."""


def reference_attention(
    pipe: Pipeline, scene: Scene, latents: Float[Array | np.ndarray, "1 t h w c"], seed: int = 0
) -> Float[np.ndarray, "r t"] | None:
    """The probability that the video's queries give to the picture of each subject.

    The mean over layers, heads and places of a frame, in the pass with text and pictures, where
    the clip has noise of `TIME`; None for models whose pictures have no tokens, but are on a canvas
    or not there at all.

    Args:
        pipe: the model.
        scene: what the clip was to show.
        latents: of the clip.
        seed: of the noise.
    """
    if not pipe.models.dit.config.slots:
        return None
    noise = jax.random.normal(jax.random.key(seed), latents.shape)
    time = jnp.full(1, TIME)
    point = flow.interpolate(jnp.asarray(latents), noise, time)
    dit, params = pipe.models.dit, pipe.models.dit_params
    seen = _seen(params, pipe.conditions([scene]), point, time, dit=dit)
    return np.asarray(seen)[:, : len(scene.subjects)].T


@partial(jax.jit, static_argnames=("dit",))
def _seen(
    params: dict, conditions: Conditions, point: jax.Array, time: jax.Array, *, dit: DiT
) -> jax.Array:
    given = jnp.ones(1, bool)
    text, extra = model_inputs(conditions, given, given)
    extra["probe"] = Probe(places=False)
    seen = cast(Attended, dit.apply({"params": params}, point, time, text, **extra)[1])
    assert seen.references is not None  # the probe asks for them
    return seen.references.mean((0, 2))[0, :, 0, 0]
