"""What a control is told of the step that is about to be made."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import cast

import jax
import jax.numpy as jnp

from alchemint_jax.models.dit import Attended, Bias, DiT, Probe
from alchemint_jax.models.dit.conditioning import Conditions, model_inputs
from alchemint_jax.sampling.control import Moment


def moments(
    dit: DiT, params: dict, conditions: Conditions, steps: jax.Array | int
) -> Callable[[jax.Array, jax.Array], Moment]:
    """The moment of `(step, time)`, one of so many steps."""
    b = len(conditions.text)
    # The backward pass computes layers again, which costs nothing where no gradient is taken.
    kept = dit.clone(config=dataclasses.replace(dit.config, remat="full"))

    def look(z: jax.Array, t: jax.Array, probe: Probe, bias: Bias | None) -> Attended:
        everything = jnp.ones(b, bool)
        text, extra = model_inputs(conditions, everything, everything)
        time = jnp.broadcast_to(t, z.shape[:1])
        extra |= {"bias": bias, "probe": probe}
        z = z if conditions.given is None else conditions.given.over(z)
        return cast(Attended, kept.apply({"params": params}, z, time, text, **extra)[1])

    def moment(step: jax.Array, time: jax.Array) -> Moment:
        total = jnp.asarray(steps, jnp.int32)
        return Moment(step, total, time, conditions, dit.config.n_layers, look)

    return moment
