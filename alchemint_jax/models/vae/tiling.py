"""Encoding and decoding of large pictures, tile by tile, each streamed in time.

Besides video and latents themselves, memory is that of one tile. All tiles have one shape, so the
network is compiled once. Neighbours overlap and are blended.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from alchemint_jax.errors import ConfigError
from alchemint_jax.models.vae.config import TinyDecoderConfig, VAEConfig
from alchemint_jax.models.vae.model import VAE
from alchemint_jax.models.vae.streaming import stream_decode, stream_encode
from alchemint_jax.models.vae.tiny import TinyDecoder

# Pixels; what diffusers' AutoencoderKLWan uses (tiles of 256, 192 apart).
TILE = 256
OVERLAP = 64


def tiled_encode(
    vae: VAE,
    params: dict,
    video: Float[Array, "b f h w 3"],
    tile: int = TILE,
    overlap: int = OVERLAP,
) -> Float[Array, "b t h2 w2 c"]:
    """As `stream_encode`, in tiles of at most `tile` x `tile` pixels; exactly so where one will do.

    Args:
        vae: the autoencoder.
        params: of the autoencoder.
        video: in [-1, 1]; a picture is a video of one frame.
        tile: pixels along each side of a tile.
        overlap: pixels that neighbours share, at the least.

    Raises:
        ConfigError: see `check_tiles`; or the picture needs tiles and is no whole number of cells.
    """
    check_tiles(vae.config, tile, overlap)
    cell = vae.config.spatial_stride
    height, width = video.shape[2:4]
    if max(height, width) <= tile:
        return stream_encode(vae, params, video)
    if height % cell or width % cell:
        raise ConfigError(
            f"pictures of {height} x {width} pixels cannot be cut into tiles: "
            f"both sides must be multiples of {cell}, the pixels of a latent cell"
        )
    run = partial(stream_encode, vae, params)
    return _tiled(run, video, tile // cell, overlap // cell, cell, 1)


def tiled_decode(
    vae: VAE | TinyDecoder,
    params: dict,
    latents: Float[Array, "b t h w c"],
    tile: int = TILE,
    overlap: int = OVERLAP,
) -> Float[Array, "b f h2 w2 3"]:
    """As `stream_decode`, in tiles of at most `tile` x `tile` pixels; exactly so where one will do.

    Args:
        vae: the autoencoder, or a small decoder.
        params: of it.
        latents: normalised.
        tile: pixels along each side of a tile.
        overlap: pixels that neighbours share, at the least.

    Raises:
        ConfigError: see `check_tiles`.
    """
    check_tiles(vae.config, tile, overlap)
    cell = vae.config.spatial_stride
    if max(latents.shape[2:4]) * cell <= tile:
        return stream_decode(vae, params, latents)
    run = partial(stream_decode, vae, params)
    return _tiled(run, latents, tile // cell, overlap // cell, 1, cell)


def check_tiles(config: VAEConfig | TinyDecoderConfig, tile: int, overlap: int) -> None:
    """Raises a ConfigError unless tiles are whole latent cells and wider than what they share."""
    cell = config.spatial_stride
    if tile < cell or tile % cell:
        raise ConfigError(
            f"tile is {tile} pixels; it must be a multiple of {cell}, the pixels of a latent cell"
        )
    if not 0 <= overlap < tile or overlap % cell:
        raise ConfigError(
            f"overlap is {overlap} pixels; it must be a multiple of {cell}, the pixels of a latent "
            f"cell, from 0 to {tile - cell}, less than a tile"
        )


def tile_starts(size: int, tile: int, overlap: int) -> np.ndarray:
    """Where the fewest tiles that cover `size` cells and share at least `overlap` begin.

    They are spread evenly: a last tile cut short would be another shape to compile, and one merely
    shifted inwards would repeat much of its neighbour while others share little.
    """
    if size <= tile:
        return np.zeros(1, int)
    count = -(-(size - overlap) // (tile - overlap))
    return np.arange(count) * (size - tile) // (count - 1)


def blend_weights(
    starts: np.ndarray, tile: int, size: int, margin: float
) -> Float[np.ndarray, "tiles size"]:
    """How much each tile counts at each position along one axis; at any position the sum is one.

    A tile counts by the distance to its nearer end, less `margin` positions that do not count at
    all, over the sum of the tiles'. An end that is the picture's own is no cut and needs no
    blending. Between two tiles these are linear ramps.

    In the margin a tile is wrong: its convolutions saw zeros where the picture goes on. The ramps
    of diffusers span all of the overlap and let that shine through. To leave out a quarter of the
    overlap at each cut halves the error of tiled encoding with the bundled autoencoder, and does
    not change that of decoding.
    """
    at = np.arange(size) + 0.5
    begin, end = starts[:, None], starts[:, None] + tile
    left = np.where(begin > 0, at - begin - margin, size)
    right = np.where(end < size, end - at - margin, size)
    inside = (at > begin) & (at < end)
    depth = np.where(inside, np.clip(np.minimum(left, right), 0, None), 0)
    return (depth / depth.sum(axis=0)).astype(np.float32)


def _tiled(
    run: Callable[[jax.Array], jax.Array],
    x: jax.Array,
    tile: int,
    overlap: int,
    cell_in: int,
    cell_out: int,
) -> jax.Array:
    """`run` over tiles of x; tile and overlap in latent cells of `cell_in`, `cell_out` pixels."""
    rows, columns = (pixels // cell_in for pixels in x.shape[2:4])
    height, tops, down = tile_axis(rows, tile, overlap, cell_out)
    width, lefts, across = tile_axis(columns, tile, overlap, cell_out)
    inputs = (*x.shape[:2], height * cell_in, width * cell_in, x.shape[4])
    piece = jax.eval_shape(run, jax.ShapeDtypeStruct(inputs, x.dtype))
    whole = (*piece.shape[:2], rows * cell_out, columns * cell_out, piece.shape[4])
    i, j = (a.ravel() for a in np.indices((len(tops), len(lefts))))
    tiles = tuple(jnp.asarray(a) for a in (tops[i], lefts[j], down[i], across[j]))

    def add(out: jax.Array, where: tuple[jax.Array, ...]) -> tuple[jax.Array, None]:
        top, left, down, across = where
        part = jax.lax.dynamic_slice(x, (0, 0, top * cell_in, left * cell_in, 0), inputs)
        weights = down[None, None, :, None, None] * across[None, None, None, :, None]
        blended = run(part).astype(jnp.float32) * weights
        corner = (0, 0, top * cell_out, left * cell_out, 0)
        before = jax.lax.dynamic_slice(out, corner, blended.shape)
        return jax.lax.dynamic_update_slice(out, before + blended, corner), None

    out, _ = jax.lax.scan(add, jnp.zeros(whole, jnp.float32), tiles)
    return out.astype(piece.dtype)


def tile_axis(size: int, tile: int, overlap: int, cell: int) -> tuple[int, np.ndarray, np.ndarray]:
    """Cells of a tile, where the tiles begin, and their weights at each of their own positions."""
    tile = min(tile, size)
    starts = tile_starts(size, tile, overlap)
    weights = blend_weights(starts * cell, tile * cell, size * cell, overlap * cell / 4)
    own = starts[:, None] * cell + np.arange(tile * cell)
    return tile, starts, np.take_along_axis(weights, own, axis=1)
