"""Solvers of the flow's differential equation, each a single `lax.scan` over the time grid."""

from __future__ import annotations

from collections.abc import Callable

import jax
from jaxtyping import Array, Float

Velocity = Callable[[Float[Array, " b *rest"], Float[Array, ""]], Float[Array, " b *rest"]]


def euler(
    velocity: Velocity, z: Float[Array, " b *rest"], times: Float[Array, " n"]
) -> Float[Array, " b *rest"]:
    """Integrates dz/dt = velocity(z, t) from times[0] to times[-1].

    Exact where the velocity is constant. A grid may be cut into pieces that share their end points:
    solving them one after the other is the same.
    """

    def step(z: jax.Array, span: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, None]:
        t, after = span
        return z + (after - t) * velocity(z, t), None

    return jax.lax.scan(step, z, (times[:-1], times[1:]))[0]
