"""Latent frames that a model is given clean, with a time of 0, while it makes the others.

That is how networks with a time for each token continue pictures. Axes: b batch, t latent frames,
h w latent grid, c channels, n tokens.
"""

from __future__ import annotations

import math

import jax.numpy as jnp
from jaxtyping import Array, Float

from alchemint_jax.models.dit.conditioning import Known


def held(
    latents: Float[Array, "b t h w c"],
    time: Float[Array, " b"],
    known: Known | None,
    patch: tuple[int, int, int],
) -> tuple[Float[Array, "b t h w c"], Float[Array, " b"] | Float[Array, "b n"]]:
    """What the transformer is given: known frames in place of noisy ones, and the time of each
    token; or what there is, where nothing is known.
    """
    if known is None:
        return latents, time
    cells = math.prod(
        side // part for side, part in zip(latents.shape[2:4], patch[1:], strict=True)
    )
    frames = known.frames.reshape(len(latents), -1, patch[0]).all(2)  # of all in a token
    tokens = jnp.repeat(frames, cells, axis=1)
    return restored(latents, known), jnp.where(tokens, 0, time[:, None])


def restored(latents: Float[Array, "b t h w c"], known: Known | None) -> Float[Array, "b t h w c"]:
    """The latents with known frames as they are."""
    if known is None:
        return latents
    return jnp.where(known.frames[:, :, None, None, None], known.latents, latents)
