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

_PIXELS = 2**16
"""Pixels of a chunk, where more than one latent frame is in it: 16 frames of 64 x 64."""


def stream_encode(
    vae: VAE, params: dict, video: Float[Array, "b f h w 3"]
) -> Float[Array, "b t h2 w2 c"]:
    """As `encode`, a few latent frames at a time."""
    count = frames_at_once((video.shape[1] - 1) // vae.config.temporal_stride, _pixels(vae, video))
    return _stream(vae, params, video, count * vae.config.temporal_stride, "encode_chunk")


def stream_decode(
    vae: VAE | TinyDecoder, params: dict, latents: Float[Array, "b t h w c"]
) -> Float[Array, "b f h2 w2 3"]:
    """As `decode`, a few latent frames at a time."""
    cells = vae.config.spatial_stride**2
    count = frames_at_once(latents.shape[1] - 1, cells * _pixels(vae, latents))
    return _stream(vae, params, latents, count, "decode_chunk")


def frames_at_once(count: int, pixels: int) -> int:
    """Latent frames of a chunk: 4, 2 or 1, so many that `count` frames are whole chunks.

    Four frames take fewer products than four times one (see `ops.winograd`). But memory is that of
    a chunk, and of large pictures one latent frame is more than a CPU's caches hold.

    Args:
        count: latent frames after frame 0.
        pixels: of the video that one latent frame stands for, of a whole batch.
    """
    return next(n for n in (4, 2, 1) if n == 1 or (count % n == 0 and n * pixels <= _PIXELS))


def _pixels(vae: VAE | TinyDecoder, x: jax.Array) -> int:
    """Positions of the frames of a latent frame."""
    return vae.config.temporal_stride * x.shape[0] * x.shape[2] * x.shape[3]


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
