"""Euler's method: where it is exact, and how fast it converges where it is not."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from alchemint_jax.flow import interpolate, time_grid, velocity
from alchemint_jax.sampling import euler


def _normal(seed):
    return jnp.asarray(np.random.default_rng(seed).standard_normal((2, 3)), jnp.float32)


def test_exact_where_the_velocity_is_constant():
    data, noise = _normal(0), _normal(1)
    for steps in (1, 7):
        end = euler(lambda z, t: velocity(data, noise), noise, time_grid(steps, 5.66))
        np.testing.assert_allclose(end, data, atol=1e-5)


def test_the_model_is_asked_at_the_start_of_every_step():
    seen = euler(lambda z, t: jnp.broadcast_to(t, z.shape), jnp.zeros((1, 1)), time_grid(4, 1.0))
    np.testing.assert_allclose(seen, -(1 + 0.75 + 0.5 + 0.25) / 4, atol=1e-6)


def test_first_order_on_a_curved_field():
    start = jnp.ones((1, 1))

    def error(steps):
        end = euler(lambda z, t: z * jnp.cos(3 * t), start, time_grid(steps, 1.0))
        return abs(float(end[0, 0]) - np.exp(-np.sin(3.0) / 3))

    errors = [error(steps) for steps in (10, 20, 40)]
    assert errors[0] > 1e-3  # curved enough to tell
    np.testing.assert_allclose([errors[0] / errors[1], errors[1] / errors[2]], 2, atol=0.25)


def test_pieces_of_a_grid_are_the_grid():
    def field(z, t):
        return jnp.sin(z) + t

    times, z = time_grid(6, 3.0), _normal(2)
    whole = euler(field, z, times)
    pieces = euler(field, euler(field, z, times[:4]), times[3:])
    np.testing.assert_array_equal(pieces, whole)
    np.testing.assert_array_equal(euler(field, z, times[:1]), z)


def test_solving_forwards_undoes_nothing_but_the_direction():
    data, noise = _normal(0), _normal(1)
    half = euler(lambda z, t: velocity(data, noise), noise, jnp.asarray([1.0, 0.6, 0.3]))
    np.testing.assert_allclose(half, interpolate(data, noise, jnp.full((2,), 0.3)), atol=1e-6)
