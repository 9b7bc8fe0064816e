"""Inbetweening: frames between keyframes attend as the keyframes do, told while sampling.

Models that are given the first and the last frame of a clip lose both on the way: the middle of the
clip attends to the prompt and to the pictures as neither end does. Here cross-attention of each
frame is drawn towards a mixture of that of the two keyframes around it, as each layer and step has
it, and frames near a keyframe attend more sharply in time than others do. That is KAB and ReTRo of
TGI, arXiv 2603.17651, between any number of keyframes.

Axes: b batch, t latent frames, h w latent grid, c channels.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from alchemint_jax.errors import ConfigError, StoryboardError
from alchemint_jax.models.dit import Bias
from alchemint_jax.models.dit.between import Between
from alchemint_jax.models.dit.conditioning import Conditions
from alchemint_jax.rotary.retro import smoothed_scales
from alchemint_jax.sampling.control.gating import Window, check_window
from alchemint_jax.sampling.control.step import Control, Moment, Steered, Together
from alchemint_jax.scene.scene import Scene


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class Inbetween:
    """Keeps what is between keyframes to what the keyframes attend to.

    Attributes:
        near: how strongly the frames beside a keyframe are drawn; 0 for both this and `far` is not
            at all.
        far: how strongly the frame in the middle between two keyframes is drawn.
        steps: in which steps they are drawn, by the share of all steps that was made before: more
            than the first number, and no more than the second. (0, 0.4) are 1 to 20 of 50, counted
            from 0.
        layers: in which layers, by the share of layers before, in the same way. (0.1, 0.3) are 5 to
            12 of 40 and 4 to 9 of 30.
        isolated: whether the first and the last picture are attended to apart, in networks that
            have a stream of both. Stock networks share one softmax between them.
        edge: how sharply keyframes attend in time, in all layers and steps: what their temporal
            rotations are multiplied by.
        middle: the same, of frames that are not near a keyframe. Both 1: nothing is multiplied.
        reach: how far from a keyframe a frame is near it, as a share of the way to the next.
        phase: whether the angles of rotations are scaled, not their amplitudes. It is there to be
            compared with.

    Raises:
        ConfigError: a field is not in its range.

    Examples:
        >>> from alchemint_jax.sampling.control import Inbetween
        >>> Inbetween().near, Inbetween(near=0, far=0, phase=True).edge
        (0.7, 1.06)

    Source:
        TGI, arXiv 2603.17651, and its released code.
    """

    near: float | int = 0.7
    far: float | int = 0.3
    steps: Window = (0.0, 0.4)
    layers: Window = (0.1, 0.3)
    isolated: bool = True
    edge: float | int = 1.06
    middle: float | int = 0.94
    reach: float | int = 0.1
    phase: bool = False

    def __post_init__(self) -> None:
        for name, most in (("near", 10), ("far", 10), ("edge", 2), ("middle", 2), ("reach", 0.5)):
            if not 0 <= getattr(self, name) <= most:
                raise ConfigError(
                    f"Inbetween: {name} = {getattr(self, name)}: must be from 0 to {most}"
                )
        for name in ("steps", "layers"):
            check_window(f"Inbetween: {name}", getattr(self, name))

    @classmethod
    def of(cls, given: bool | None) -> Inbetween | None:
        """What `--inbetween` asks for; None where it is not given."""
        return cls() if given else None

    def __call__(self, moment: Moment, latents: Float[Array, "b t h w c"]) -> Steered:
        """See `Control`; the latents stay where they are."""
        places = Places.of(given_frames(moment.conditions, latents))
        between = Between(isolated=self.isolated, phase=self.phase)
        if self.near or self.far:
            active = since(moment.step, moment.steps, self.steps)
            between = dataclasses.replace(
                between,
                targets=places.targets(),
                weights=places.weights(self.near, self.far) * active,
                layers=since(jnp.arange(moment.layers), moment.layers, self.layers),
            )
        if (self.edge, self.middle) != (1, 1):
            scales = smoothed_scales(places.near(self.reach), self.edge, self.middle)
            between = dataclasses.replace(between, scales=scales)
        return Steered(latents, Bias(between=between))


def check_scenes(control: Control | None, scenes: Sequence[Scene]) -> None:
    """Refuses scenes that have nothing between keyframes, where a control is for what is there.

    Raises:
        StoryboardError: naming the scene.
    """
    several = control.controls if isinstance(control, Together) else (control,)
    if not any(isinstance(one, Inbetween) for one in several):
        return
    for scene in scenes:
        frames = [scene.clock.latent_frame(at) for at in scene.given_at]
        if not frames or max(frames) - min(frames) < 2:
            raise StoryboardError(
                f"{scene.id}: keyframes: inbetween needs two with something between them, such as "
                "first_frame and last_frame"
            )


def given_frames(conditions: Conditions, latents: Float[Array, "b t h w c"]) -> Bool[Array, "b t"]:
    """Which latent frames hold a keyframe.

    Raises:
        ConfigError: the model was given none.
    """
    if conditions.given is not None:
        return conditions.given.frames
    if conditions.condition is None:
        raise ConfigError("inbetween acts between keyframes, and this model is given none")
    # Behind the mask of a condition are as many channels as latents have.
    mask = conditions.condition[..., : -latents.shape[-1]]
    return (mask > 0).any((2, 3, 4))


class Places(NamedTuple):
    """Where each frame is between keyframes; a frame without one on both sides is nowhere."""

    before: Int[Array, "b t"]
    """The last keyframe up to here; -1 where there is none."""
    after: Int[Array, "b t"]
    """The first keyframe from here on; t where there is none."""

    @classmethod
    def of(cls, given: Bool[Array, "b t"]) -> Places:
        """Of frames of which these are keyframes."""
        t = given.shape[1]
        frames = jnp.arange(t)[None]
        before = jax.lax.cummax(jnp.where(given, frames, -1), axis=1)
        after = jax.lax.cummin(jnp.where(given, frames, t), axis=1, reverse=True)
        return cls(before, after)

    @property
    def inside(self) -> Bool[Array, "b t"]:
        """Whether there is a keyframe on both sides; a keyframe itself is both."""
        return (self.before >= 0) & (self.after < self.before.shape[1])

    @property
    def length(self) -> Int[Array, "b t"]:
        """From one keyframe to the next; 0 at a keyframe."""
        return self.after - self.before

    @property
    def distance(self) -> Int[Array, "b t"]:
        """To the nearer of the two."""
        frames = jnp.arange(self.before.shape[1])[None]
        return jnp.minimum(frames - self.before, self.after - frames)

    def targets(self) -> Float[Array, "b t t"]:
        """How much of each frame's attention a frame should have: of both keyframes, linearly."""
        t = self.before.shape[1]
        frames = jnp.arange(t)[None]
        share = (frames - self.before) / jnp.maximum(self.length, 1)
        first, last = (jax.nn.one_hot(at, t, dtype=share.dtype) for at in self)
        return (1 - share)[..., None] * first + share[..., None] * last

    def weights(self, near: float | int, far: float | int) -> Float[Array, "b t"]:
        """Half a cosine from `near` beside a keyframe to `far` in the middle; 0 elsewhere.

        With the distance d to the nearer keyframe, and its largest value D between these two:

            far + (near - far) (1 + cos(pi d / D)) / 2.
        """
        largest = jnp.maximum(self.length // 2, 1)
        wave = (1 + jnp.cos(math.pi * self.distance / largest)) / 2
        return jnp.where(self.inside & (self.length > 0), far + (near - far) * wave, 0)

    def near(self, reach: float | int) -> Bool[Array, "b t"]:
        """Whether a frame is a keyframe or nearer to one than this share of the way."""
        close = self.distance < reach * self.length - _FUZZ
        return self.inside & ((self.length == 0) | close)


_FUZZ = 1e-3
"""Of frames, steps and layers: shares such as 0.1 of 20 are not whole in binary."""


def since(number: Array, of: Array | int, window: Window) -> Float[Array, "*parts"]:
    """1 where more than the first share of `of`, and no more than the second, came before."""
    start, end = (share * of + _FUZZ for share in window)
    return ((number > start) & (number <= end)).astype(jnp.float32)
