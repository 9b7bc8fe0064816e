"""Given frames of the video, encoded: as channels of a condition, or as clean latents.

Axes: b batch, t latent frames, h w latent grid, c channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import cast

import jax
import numpy as np
from jaxtyping import UInt8

from alchemint_jax.models.clip import CLIPStates, CLIPVision, preprocess
from alchemint_jax.models.dit.conditioning import Conditions, Given
from alchemint_jax.models.dit.keyframes import keyframe_condition
from alchemint_jax.models.vae import VAE, tiled_encode
from alchemint_jax.sampling.canvas import Canvas
from alchemint_jax.sampling.parts import Parts
from alchemint_jax.scene.clock import Clock
from alchemint_jax.scene.scene import Scene

Pictures = dict[int, UInt8[np.ndarray, "h w 3"]]
"""Pictures of a clip by their pixel frames."""


def with_keyframes(
    parts: Parts,
    conditions: Conditions,
    scenes: Sequence[Scene],
    size: tuple[int, int],
    clock: Clock,
) -> Conditions:
    """The conditions, and the given frames of each scene as this model takes them.

    Raises:
        StoryboardError: a scene has no picture, and this model draws from pictures on a canvas.
    """
    given = [scene.given(size) for scene in scenes]
    if not parts.conditioned:
        return conditions._replace(given=_given(parts, given, size, clock))
    canvases = None
    if parts.canvas:
        canvases = [Canvas.of(scene, size) for scene in scenes]
        given = [{0: canvas.picture} for canvas in canvases]
    side = parts.models.vae.config.spatial_stride
    condition = keyframe_condition(
        partial(_encode_video, parts.models.vae_params, vae=parts.models.vae),
        clock,
        [{at: _normalised(picture) for at, picture in own.items()} for own in given],
        None if canvases is None else np.stack([canvas.cells(side) for canvas in canvases]),
    )
    conditions = conditions._replace(condition=condition)
    if parts.image_encoder is None:
        return conditions
    tower, params = parts.image_encoder
    # The tower sees those that the network must be given, and no others.
    ends = (0, int(clock.frames) - 1)[: max(1, parts.keyframes)]
    looked = [own[at] for own in given for at in ends]
    prepare = partial(preprocess, size=tower.config.image_size, whole=parts.canvas)
    states = _see(params, np.stack([prepare(x) for x in looked]), tower=tower)
    return conditions._replace(image=states.reshape(len(given), -1, states.shape[-1]))


def _given(
    parts: Parts, given: Sequence[Pictures], size: tuple[int, int], clock: Clock
) -> Given | None:
    """Clean latents of keyframes, if there are any.

    That at the beginning is a picture. A later latent frame holds several pixel frames: it is the
    one of a clip that stands still.
    """
    if not any(given):
        return None
    vae = parts.models.vae
    height, width = (side // vae.config.spatial_stride for side in size)
    shape = (len(given), clock.latent_frames, height, width, vae.config.z_dim)
    latents, frames = np.zeros(shape, np.float32), np.zeros(shape[:2], bool)
    for row, own in enumerate(given):
        for at, picture in own.items():
            place = clock.latent_frame(at)
            still = Clock.for_latents(2 if place else 1, clock.stride)
            video = np.repeat(_normalised(picture)[None, None], still.frames, axis=1)
            found = _encode_video(parts.models.vae_params, video, vae=vae)
            latents[row, place], frames[row, place] = found[0, -1], True
    return Given(jax.device_put(latents), jax.device_put(frames))


def _normalised(picture: UInt8[np.ndarray, "h w 3"]) -> np.ndarray:
    """In [-1, 1]."""
    return picture.astype(np.float32) / np.float32(127.5) - 1


@partial(jax.jit, static_argnames=("tower",))
def _see(params: dict, images: jax.Array, *, tower: CLIPVision) -> jax.Array:
    return cast(CLIPStates, tower.apply({"params": params}, images)).penultimate


@partial(jax.jit, static_argnames=("vae",))
def _encode_video(params: dict, video: jax.Array, *, vae: VAE) -> jax.Array:
    return tiled_encode(vae, params, video)
