"""Named grids: their ends and order, and where the three of Wan part."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from alchemint_jax.errors import ConfigError
from alchemint_jax.flow import GRIDS, make_grid, shift_time, time_grid

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", list(GRIDS))
@pytest.mark.parametrize("shift", [1.0, 5.0])
def test_levels_fall_to_zero_and_times_go_with_them(name, shift):
    for steps in (1, 2, 50):
        sigmas, times = GRIDS[name](steps, shift)
        assert sigmas.shape == (steps + 1,) and times.shape == (steps,)
        assert sigmas.dtype == times.dtype == np.float32
        assert 0.993 < sigmas[0] <= 1 and sigmas[-1] == 0 and (np.diff(sigmas) < 0).all()
        # Cut off to whole thousandths at most.
        assert (times <= sigmas[:-1] + 1e-7).all() and (times > sigmas[:-1] - 1.001e-3).all()


def test_the_linear_grid_is_time_grid_to_the_last_bit(optimised):
    """As users compile both; with few optimizations one of them is rounded otherwise."""
    jax.clear_caches()  # of what was compiled otherwise
    sigmas, times = GRIDS["linear"](40, 5.66)
    np.testing.assert_array_equal(sigmas, time_grid(40, 5.66))
    np.testing.assert_array_equal(times, sigmas[:-1])


def test_grids_are_of_the_host_even_under_jit():
    traced = jax.jit(lambda x: x + GRIDS["linear"](4, 1.0).sigmas)(jnp.zeros(5))
    np.testing.assert_allclose(traced, [1, 0.75, 0.5, 0.25, 0])


def test_wans_own_grid():
    """sigma' = 5 s / (1 + 4 s) of s = 0.999 (1 - i / 50), by hand."""
    sigmas, times = GRIDS["wan"](50, 5.0)
    expected = {0: 4.995 / 4.996, 25: 2.4975 / 2.998, 49: 0.0999 / 1.07992}
    for i, value in expected.items():
        np.testing.assert_allclose(sigmas[i], value, rtol=1e-6)
        np.testing.assert_allclose(1000 * times[i], int(1000 * value), rtol=1e-6)
    np.testing.assert_allclose(1000 * times[[0, 25, 49]], [999, 833, 92], rtol=1e-6)


def test_two_grids_of_wan_differ_by_so_much():
    """At 50 steps and shift 5: research figures that no code of ours made."""
    (ours, times), (theirs, their_times) = (
        GRIDS[name](50, 5.0) for name in ("wan", "diffusers-unipc")
    )
    np.testing.assert_allclose([ours[-2], theirs[-2]], [0.0925, 0.0968], atol=5e-5)
    gap = np.abs(ours - theirs)
    np.testing.assert_allclose(gap.max(), 0.0043, atol=5e-5)
    assert gap.argmax() == 49
    assert (np.round(1000 * times) != np.round(1000 * their_times)).sum() == 27


def test_diffusers_unipc_grid_keeps_off_pure_noise_and_rounds_times():
    sigmas, times = GRIDS["diffusers-unipc"](2, 1.0)
    np.testing.assert_allclose(sigmas, [1 - 1e-6, 0.5005, 0], rtol=1e-7)
    np.testing.assert_allclose(times, [0.999, 0.5], rtol=1e-7)


def test_diffusers_euler_grid_is_shifted_twice_at_its_end():
    sigmas, times = GRIDS["diffusers-euler"](3, 5.0)
    once = shift_time(jnp.float32(0.001), 5.0)
    middle, last = shift_time((1 + once) / 2, 5.0), shift_time(once, 5.0)
    np.testing.assert_allclose(sigmas, [1, middle, last, 0], rtol=1e-6)
    np.testing.assert_array_equal(times, sigmas[:-1])


@pytest.mark.parametrize(
    "change, message",
    [
        (dict(name="lineal"), "no grid 'lineal'; there are linear, wan"),
        (dict(final="one"), "no final 'one'; there are zero, sigma_min"),
        (dict(steps=0), "a grid of 0 steps is too short; give at least 1"),
        (dict(steps=1, terminal=0.1), "a grid of 1 steps is too short; give at least 2"),
    ],
)
def test_grids_that_there_cannot_be_are_refused(change, message):
    with pytest.raises(ConfigError, match=message):
        make_grid(**dict(name="linear", steps=4, shift=1.0) | change)
