"""The path, its velocity, and its times: values, ends and statistics."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from alchemint_jax.flow import (
    data_from_velocity,
    interpolate,
    sample_times,
    shift_time,
    time_grid,
    velocity,
)

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def pair():
    rng = np.random.default_rng(0)
    return [jax.device_put(np.float32(rng.standard_normal((3, 2, 4)))) for _ in range(2)]


def test_the_path_leads_from_data_to_noise(pair):
    data, noise = pair
    np.testing.assert_array_equal(interpolate(data, noise, jnp.zeros(3)), data)
    np.testing.assert_array_equal(interpolate(data, noise, jnp.ones(3)), noise)
    # Every sample has its own time.
    mixed = interpolate(data, noise, jnp.asarray([0.0, 1.0, 0.25]))
    expected = jnp.stack([data[0], noise[1], 0.75 * data[2] + 0.25 * noise[2]])
    np.testing.assert_allclose(mixed, expected, atol=1e-6)


def test_velocity_is_the_derivative_with_respect_to_time(pair):
    t = jnp.asarray([0.1, 0.5, 0.9])
    _, slope = jax.jvp(lambda t: interpolate(*pair, t), (t,), (jnp.ones(3),))
    np.testing.assert_allclose(velocity(*pair), slope, atol=1e-6)
    np.testing.assert_array_equal(velocity(*pair), pair[1] - pair[0])


def test_data_is_found_again(pair):
    t = jnp.asarray([0.0, 0.4, 1.0])
    z = interpolate(*pair, t)
    np.testing.assert_allclose(data_from_velocity(z, velocity(*pair), t), pair[0], atol=1e-6)


def test_grid_has_the_papers_values():
    grid = np.asarray(time_grid(40, 5.66))
    assert grid.shape == (41,) and grid.dtype == np.float32
    assert grid[0] == 1 and grid[-1] == 0 and (np.diff(grid) < 0).all()
    np.testing.assert_allclose(
        grid[[1, 10, 20, 30, 39]], [0.9955, 0.944, 0.850, 0.654, 0.127], atol=6e-4
    )
    np.testing.assert_allclose(time_grid(4, 1.0), [1, 0.75, 0.5, 0.25, 0], atol=1e-7)


def test_shift_multiplies_the_odds():
    t = np.linspace(0.05, 0.95, 7)
    shifted = np.asarray(shift_time(jnp.asarray(t, jnp.float32), 3.0), np.float64)
    np.testing.assert_allclose(shifted / (1 - shifted), 3 * t / (1 - t), rtol=1e-5)


@pytest.mark.parametrize("batch", [1, 16])
def test_each_stratum_has_one_time(batch):
    t = np.asarray(sample_times(jax.random.key(3), batch, 1.0), np.float64)
    np.testing.assert_array_equal(np.floor(np.sort(t) * batch), np.arange(batch))


def test_times_follow_the_key_and_the_shift():
    t = sample_times(jax.random.key(0), 32, 1.0)
    np.testing.assert_array_equal(t, sample_times(jax.random.key(0), 32, 1.0))
    other = sample_times(jax.random.key(1), 32, 1.0)
    assert (np.asarray(t) != np.asarray(other)).all()
    # Shuffled: a sample's place in the batch says nothing about its time.
    assert (np.argsort(t) != np.argsort(other)).any() and (np.diff(t) < 0).any()
    shifted = sample_times(jax.random.key(0), 32, 5.66)
    np.testing.assert_allclose(shifted, shift_time(t, 5.66), atol=1e-6)


def test_times_of_a_span_are_those_of_the_whole_that_lie_in_it():
    key = jax.random.key(4)
    t = np.asarray(sample_times(key, 64, 3.0, (0.875, 1.0)))
    assert t.min() >= 0.875 and t.max() < 1
    u = np.asarray(sample_times(key, 64, 1.0))  # shifted by 3, 0.7 is 0.875
    np.testing.assert_allclose(t, shift_time(jnp.asarray(0.7 + 0.3 * u), 3.0), atol=1e-6)
    whole = np.asarray(sample_times(jax.random.key(5), 4096, 3.0))
    shares = np.linspace(0.1, 0.9, 5)
    inside = np.quantile(whole[whole >= 0.875], shares)
    np.testing.assert_allclose(np.quantile(t, shares), inside, atol=0.005)
    assert np.abs(inside - (0.875 + 0.125 * shares)).max() > 0.005  # they are not spread evenly
    low = np.asarray(sample_times(key, 64, 3.0, (0.0, 0.875)))
    assert low.min() < 0.1 and 0.8 < low.max() < 0.875


def test_times_are_uniform_before_the_shift():
    keys = jax.random.split(jax.random.key(2), 400)
    t = np.asarray(jax.vmap(lambda key: sample_times(key, 4, 1.0))(keys))
    assert t.min() >= 0 and t.max() < 1
    # At every place in the batch, not only over all of them.
    np.testing.assert_allclose(t.mean(axis=0), 0.5, atol=0.06)
    np.testing.assert_allclose(t.std(axis=0), 12**-0.5, atol=0.03)
