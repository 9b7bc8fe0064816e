"""Encoding and decoding in memory that does not grow with the clip, but for the result.

Both are a scan over chunks of fixed shape.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from alchemint_jax.models.vae.model import VAE
from alchemint_jax.models.vae.tiny import TinyDecoder


def stream_encode(
    vae: VAE, params: dict, video: Float[Array, "b f h w 3"]
) -> Float[Array, "b t h2 w2 c"]:
    """As `encode`, one latent frame at a time."""
    return _stream(vae, params, video, vae.config.temporal_stride, "encode_chunk")


def stream_decode(
    vae: VAE | TinyDecoder, params: dict, latents: Float[Array, "b t h w c"]
) -> Float[Array, "b f h2 w2 3"]:
    """As `decode`, one latent frame at a time."""
    return _stream(vae, params, latents, 1, "decode_chunk")


def _stream(
    vae: VAE | TinyDecoder, params: dict, x: jax.Array, chunk: int, method: str
) -> jax.Array:
    apply: Callable[..., Any] = vae.apply  # Linen's own type allows for changed collections
    first, past = apply({"params": params}, x[:, :1], method=method)
    count = (x.shape[1] - 1) // chunk
    if count == 0:  # a picture: its scan would be compiled, and never run
        return first

    def step(past: list[jax.Array], start: jax.Array) -> tuple[list[jax.Array], jax.Array]:
        # Sliced here, since a scan over the chunks would first copy the clip.
        part = jax.lax.dynamic_slice_in_dim(x, start, chunk, axis=1)
        y, past = apply({"params": params}, part, past, method=method)
        return past, y

    _, parts = jax.lax.scan(step, past, 1 + chunk * jnp.arange(count))
    later = parts.swapaxes(0, 1).reshape(x.shape[0], -1, *parts.shape[3:])
    return jnp.concatenate([first, later], axis=1)
