"""The straight path of rectified flow: t = 0 is data, t = 1 is noise.

AlcheMinT section 3; Liu et al. 2022.
"""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Float


def interpolate(
    data: Float[Array, " b *rest"], noise: Float[Array, " b *rest"], t: Float[Array, " b"]
) -> Float[Array, " b *rest"]:
    """z_t = (1 - t) data + t noise."""
    t = _expand(t, data.ndim)
    return (1 - t) * data + t * noise


def velocity(
    data: Float[Array, " *shape"], noise: Float[Array, " *shape"]
) -> Float[Array, " *shape"]:
    """The derivative of the path with respect to t, which the model predicts: noise - data."""
    return noise - data


def data_from_velocity(
    z: Float[Array, " b *rest"], v: Float[Array, " b *rest"], t: Float[Array, " b"]
) -> Float[Array, " b *rest"]:
    """Where the path that passes z at time t with velocity v starts: z - t v."""
    return z - _expand(t, z.ndim) * v


def _expand(t: Float[Array, " b"], ndim: int) -> Array:
    return jnp.reshape(t, t.shape + (1,) * (ndim - 1))
