"""The straight path of rectified flow: t = 0 is data, t = 1 is noise.

AlcheMinT section 3; Liu et al. 2022.
"""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Float


def interpolate(
    data: Float[Array, " b *rest"], noise: Float[Array, " b *rest"], t: Float[Array, " b"]
) -> Float[Array, " b *rest"]:
    """The point of the path at time t: `z_t = (1 - t) data + t noise`.

    Args:
        data: a batch of latents, `[b, ...]`.
        noise: as many draws of noise, of the same shape.
        t: time of each example in [0, 1], `[b]`: 0 is data, 1 is noise.

    Returns:
        z_t, of the shape of `data`.

    Raises:
        TypeError: the shapes do not fit each other.

    Examples:
        >>> data, noise = jnp.zeros((2, 1)), jnp.ones((2, 1))
        >>> al.flow.interpolate(data, noise, jnp.array([0.25, 1.0])).tolist()
        [[0.25], [1.0]]

    Source:
        Flow matching, arXiv 2210.02747; rectified flow, arXiv 2209.03003.
    """
    t = _expand(t, data.ndim)
    return (1 - t) * data + t * noise


def velocity(
    data: Float[Array, " *shape"], noise: Float[Array, " *shape"]
) -> Float[Array, " *shape"]:
    """The derivative of the path with respect to t, which the model predicts: `noise - data`.

    Args:
        data: latents of any shape.
        noise: noise of the same shape.

    Returns:
        The velocity, of that shape.

    Raises:
        TypeError: the shapes do not fit each other.

    Examples:
        >>> al.flow.velocity(jnp.array([1.0]), jnp.array([3.0])).tolist()
        [2.0]

    Source:
        Rectified flow, arXiv 2209.03003, equation 1.
    """
    return noise - data


def data_from_velocity(
    z: Float[Array, " b *rest"], v: Float[Array, " b *rest"], t: Float[Array, " b"]
) -> Float[Array, " b *rest"]:
    """The data at which a path starts that passes z at time t with velocity v: `z - t v`.

    Args:
        z: points of the path, `[b, ...]`.
        v: velocities there, of the same shape.
        t: time of each example in [0, 1], `[b]`.

    Returns:
        The data, of the shape of `z`.

    Raises:
        TypeError: the shapes do not fit each other.

    Examples:
        >>> z, v = jnp.array([[2.5]]), jnp.array([[2.0]])
        >>> al.flow.data_from_velocity(z, v, jnp.array([0.75])).tolist()
        [[1.0]]

    Source:
        Rectified flow, arXiv 2209.03003.
    """
    return z - _expand(t, z.ndim) * v


def _expand(t: Float[Array, " b"], ndim: int) -> Array:
    return jnp.reshape(t, t.shape + (1,) * (ndim - 1))
