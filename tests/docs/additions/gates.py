"""Controls of one's own: a bias that hides, and a pull by a probe. The guide shows this file."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp

import alchemint_jax as al
from alchemint_jax.models.dit import Bias, Probe
from alchemint_jax.ops.bias import HIDDEN
from alchemint_jax.sampling.control import Moment, Steered
from alchemint_jax.scene import Clock


def on_screen(moment: Moment, latents: jax.Array) -> jax.Array:
    """How much of each latent frame lies in the intervals of each subject [b r t]."""
    clock = Clock.for_latents(latents.shape[1], stride=4)
    return al.rotary.coverage(moment.conditions.intervals, clock)


@partial(jax.tree_util.register_dataclass, data_fields=["depth"], meta_fields=[])
@dataclass(frozen=True)
class Gate:
    """Hides each subject and the frames in which it is off screen from one another."""

    depth: jax.Array | float = HIDDEN  # what is added to the logits; -2.0 hides softly

    def __call__(self, moment: Moment, latents: jax.Array) -> Steered:
        hidden = jnp.where(on_screen(moment, latents) > 0, 0.0, self.depth)
        return Steered(latents, Bias(subjects=hidden.swapaxes(1, 2), frames=hidden))


@partial(jax.tree_util.register_dataclass, data_fields=["rate"], meta_fields=[])
@dataclass(frozen=True)
class Pull:
    """Moves the latents so that frames look at a subject where it is on screen, and only there."""

    rate: jax.Array | float = 1.0

    def __call__(self, moment: Moment, latents: jax.Array) -> Steered:
        def timed(latents: jax.Array) -> jax.Array:
            seen = moment.look(latents, Probe(places=False)).references
            assert seen is not None
            probability = seen.mean((0, 2, 4, 5)).swapaxes(1, 2)  # [b r t], of layers and heads
            return (probability * (2 * on_screen(moment, latents) - 1)).sum()

        slope = jax.grad(timed)(latents)
        return Steered(latents + self.rate * slope / jnp.linalg.norm(slope))
