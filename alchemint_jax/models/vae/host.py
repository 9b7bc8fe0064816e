"""Encoding of clips that lie in the host's memory, in device memory that grows with nothing.

`tiled_encode` holds a whole clip, and its latents, where it computes. Here a device holds the
frames of one latent frame of a tile and what the network remembers between them, however large and
long the clip is. The host holds the clip itself, in 8 bits, and its latents.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float32, UInt8

from alchemint_jax.models.vae.model import VAE
from alchemint_jax.models.vae.tiling import OVERLAP, TILE, check_tiles, tile_axis


def host_encode(
    vae: VAE,
    params: dict,
    clip: UInt8[np.ndarray, "f h w 3"],
    tile: int = TILE,
    overlap: int = OVERLAP,
    at_once: int = 1,
) -> Float32[np.ndarray, "t h2 w2 c"]:
    """As `tiled_encode`, of pixels in 0..255.

    Args:
        vae: the autoencoder.
        params: of the autoencoder.
        clip: as many frames as fill latent frames, both sides whole numbers of cells.
        tile: pixels along each side of a tile.
        overlap: pixels that neighbours share, at the least.
        at_once: tiles that are computed together.

    Raises:
        ConfigError: see `check_tiles`.
    """
    check_tiles(vae.config, tile, overlap)
    cell, stride = vae.config.spatial_stride, vae.config.temporal_stride
    rows, columns = (side // cell for side in clip.shape[1:3])
    height, tops, down = tile_axis(rows, tile // cell, overlap // cell, 1)
    width, lefts, across = tile_axis(columns, tile // cell, overlap // cell, 1)
    places = [(i, j) for i in range(len(tops)) for j in range(len(lefts))]
    latent_frames = 1 + (len(clip) - 1) // stride
    out = np.zeros((latent_frames, rows, columns, vae.config.z_dim), np.float32)
    first, later = _chunks(vae)
    for start in range(0, len(places), at_once):
        group = places[start : start + at_once]
        group = group + group[-1:] * (min(at_once, len(places)) - len(group))  # one shape for all
        corners = [(tops[i], lefts[j]) for i, j in group]

        def cut(frames: slice, corners: list[Any] = corners) -> np.ndarray:
            return np.stack(
                [
                    clip[
                        frames,
                        top * cell : (top + height) * cell,
                        left * cell : (left + width) * cell,
                    ]
                    for top, left in corners
                ]
            )

        y, past = first(params, cut(slice(0, 1)))
        parts = [y]
        for frame in range(1, len(clip), stride):
            y, past = later(params, cut(slice(frame, frame + stride)), past)
            parts.append(y)
        # Not concatenated before: the device would wait for all of them.
        latents = np.concatenate([np.asarray(part, np.float32) for part in parts], axis=1)
        for (i, j), (top, left), piece in zip(
            places[start : start + at_once], corners, latents, strict=False
        ):
            weights = down[i][:, None, None] * across[j][None, :, None]
            out[:, top : top + height, left : left + width] += piece * weights
    return out


@functools.lru_cache(maxsize=4)
def _chunks(vae: VAE) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """The compiled network of the first frame, and of those of a latent frame after it."""
    apply: Callable[..., Any] = vae.apply

    def chunk(params: dict, pixels: jax.Array, *past: Any) -> Any:
        video = pixels.astype(jnp.float32) / 127.5 - 1
        return apply({"params": params}, video, *past, method="encode_chunk")

    return jax.jit(chunk), jax.jit(chunk, donate_argnums=2)
