"""Given frames of the video as a condition of Wan2.1's image-to-video networks.

After diffusers' WanImageToVideoPipeline.prepare_latents. Axes: b batch, f pixel frames of y x
pixels, t latent frames of h w cells, c channels.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from alchemint_jax.scene.clock import Clock

Picture = Float[Array | np.ndarray, "b y x 3"]


def keyframe_video(
    frames: int, first: Picture, last: Picture | None = None
) -> Float[Array, "b f y x 3"]:
    """A video in [-1, 1] of the given pictures, and grey (0) wherever none is given.

    Raises:
        ValueError: there are fewer frames than pictures.
    """
    given = [jnp.asarray(x)[:, None] for x in (first, last) if x is not None]
    if frames < len(given):
        raise ValueError(f"{len(given)} pictures do not fit into {frames} frames")
    shape = (first.shape[0], frames - len(given), *first.shape[1:])
    return jnp.concatenate([given[0], jnp.zeros(shape, given[0].dtype), *given[1:]], axis=1)


def keyframe_mask(clock: Clock, last: bool = False) -> Float[np.ndarray, "t stride"]:
    """Which pixel frames of each latent frame are given: 1 or 0.

    Latent frame 0 holds one pixel frame, which counts `stride` times; latent frame i > 0 holds
    frames stride (i - 1) + 1 .. stride i, in this order.

    Raises:
        ValueError: the frames do not fill latent frames.
    """
    given = np.zeros(clock.frames, np.float32)
    given[0] = 1
    given[-1] = max(given[-1], last)
    repeated = np.concatenate([np.repeat(given[:1], clock.stride), given[1:]])
    return repeated.reshape(clock.latent_frames, clock.stride)


def keyframe_condition(
    encode: Callable[[jax.Array], jax.Array],
    clock: Clock,
    first: Picture,
    last: Picture | None = None,
) -> Float[Array, "b t h w c"]:
    """The `condition` of `DiT.__call__`: `stride` channels of mask, then latents of the pictures.

    Args:
        encode: the autoencoder, video [b f y x 3] to normalised latents [b t h w c].
        clock: pixel frames of the video to make, and how many of them make a latent frame.
        first: its first frame, in [-1, 1].
        last: its last frame, for networks that take one (FLF2V).

    Raises:
        ValueError: see `keyframe_video` and `keyframe_mask`.
    """
    mask = jnp.asarray(keyframe_mask(clock, last is not None))
    latents = encode(keyframe_video(int(clock.frames), first, last))
    mask = jnp.broadcast_to(mask[None, :, None, None], (*latents.shape[:-1], int(clock.stride)))
    return jnp.concatenate([mask.astype(latents.dtype), latents], axis=-1)
