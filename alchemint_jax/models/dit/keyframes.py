"""Given frames of the video as a condition of Wan2.1's image-to-video networks.

After diffusers' WanImageToVideoPipeline.prepare_latents, which knows a first and a last frame; any
others are given as the last one is. Axes: b batch, f pixel frames of y x pixels, t latent frames of
h w cells, c channels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from alchemint_jax.scene.clock import Clock

Picture = Float[Array | np.ndarray, "y x 3"]


def keyframe_video(frames: int, given: Mapping[int, Picture]) -> Float[np.ndarray, "f y x 3"]:
    """A video in [-1, 1] of the given pictures, by their frames, and grey (0) everywhere else.

    Raises:
        ValueError: there is no picture, or no frame for one.
    """
    if not given or min(given) < 0 or max(given) >= frames:
        raise ValueError(f"pictures at {sorted(given)} are not in a video of {frames} frames")
    first = next(iter(given.values()))
    video = np.zeros((frames, *first.shape), np.float32)
    for frame, picture in given.items():
        video[frame] = picture
    return video


def keyframe_mask(clock: Clock, given: Iterable[int]) -> Float[np.ndarray, "t stride"]:
    """Which pixel frames of each latent frame are given: 1 or 0.

    Latent frame 0 holds one pixel frame, which counts `stride` times; latent frame i > 0 holds
    frames stride (i - 1) + 1 .. stride i, in this order.

    Raises:
        ValueError: the frames do not fill latent frames.
    """
    marked = np.zeros(clock.frames, np.float32)
    marked[list(given)] = 1
    repeated = np.concatenate([np.repeat(marked[:1], clock.stride), marked[1:]])
    return repeated.reshape(clock.latent_frames, clock.stride)


def keyframe_condition(
    encode: Callable[[jax.Array], jax.Array],
    clock: Clock,
    given: Sequence[Mapping[int, Picture]],
    cells: Bool[np.ndarray, "b h w"] | None = None,
) -> Float[Array, "b t h w c"]:
    """The `condition` of `DiT.__call__`: `stride` channels of mask, then latents of the pictures.

    Args:
        encode: the autoencoder, video [b f y x 3] to normalised latents [b t h w c].
        clock: pixel frames of the video to make, and how many of them make a latent frame.
        given: the pictures of each sample, in [-1, 1], by their pixel frames.
        cells: which cells of its pictures are given; None is all.

    Raises:
        ValueError: see `keyframe_video` and `keyframe_mask`.
    """
    mask = jnp.asarray(np.stack([keyframe_mask(clock, own) for own in given]))[:, :, None, None]
    latents = encode(
        jnp.asarray(np.stack([keyframe_video(int(clock.frames), own) for own in given]))
    )
    mask = jnp.broadcast_to(mask, (*latents.shape[:-1], int(clock.stride)))
    if cells is not None:
        mask = jnp.where(cells[:, None, :, :, None], mask, 0)
    return jnp.concatenate([mask.astype(latents.dtype), latents], axis=-1)
