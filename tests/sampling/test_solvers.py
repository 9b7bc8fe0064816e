"""Solvers: where they are exact, how fast they converge, and what diffusers' schedulers make of the
same field on the same grid.
"""

from __future__ import annotations

import functools
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file

from alchemint_jax.flow import GRIDS, Grid, interpolate, velocity
from alchemint_jax.sampling import SOLVERS, solve
from alchemint_jax.sampling.solvers import advance

pytestmark = pytest.mark.slow

GOLDENS = Path(__file__).parents[1] / "goldens" / "solvers"
CASES = json.loads((GOLDENS / "cases.json").read_text())
both = pytest.mark.parametrize("solver", ["euler", "unipc"])


def _normal(seed):
    return jax.device_put(np.float32(np.random.default_rng(seed).standard_normal((2, 3))))


def _linear(steps, shift=1.0):
    return GRIDS["linear"](steps, shift)


def _grid(*sigmas):
    sigmas = np.asarray(sigmas, np.float32)
    return Grid(sigmas, sigmas[:-1])


@functools.cache
def _straight(solver):
    """From a level to the end of a table: as `solve`, but all grids of a length are one program."""
    chosen = SOLVERS[solver]

    @jax.jit
    def run(data, noise, level, rows):
        start = interpolate(data, noise, jnp.full((2,), level))
        return advance(chosen, lambda z, t: velocity(data, noise), chosen.start(start), rows)[0]

    return run


@both
@pytest.mark.parametrize("grid", list(GRIDS))
def test_exact_where_the_velocity_is_constant(solver, grid):
    data, noise = _normal(0), _normal(1)
    for steps in (1, 2, 3, 7):
        grid_ = GRIDS[grid](steps, 5.66)
        end = _straight(solver)(data, noise, grid_.sigmas[0], SOLVERS[solver].table(grid_))
        np.testing.assert_allclose(end, data, atol=2e-6)


@both
def test_the_model_is_told_the_grids_times(solver):
    told = []

    def field(z, t):
        told.append(float(t))
        return z

    grid = GRIDS["wan"](5, 3.0)
    chosen = SOLVERS[solver]
    state = chosen.start(jnp.ones((1, 1)))
    for row in chosen.table(grid):
        state = chosen.step(field, state, jnp.asarray(row))
    np.testing.assert_array_equal(np.float32(told), grid.times)  # once a step
    assert (grid.times != grid.sigmas[:-1]).all()


def test_euler_asks_at_the_start_of_every_step():
    seen = solve(lambda z, t: jnp.broadcast_to(t, z.shape), jnp.zeros((1, 1)), _linear(4))
    np.testing.assert_allclose(seen, -(1 + 0.75 + 0.5 + 0.25) / 4, atol=1e-6)


def _error(solver, steps):
    """On the flow of normally distributed data, mean 0.7 and deviation 2, that ends where known."""

    def field(z, t):
        return (t - 4 * (1 - t)) * (z - 0.7 * (1 - t)) / (4 * (1 - t) ** 2 + t**2) - 0.7

    start = np.array([[-1.0, 0.3, 2.0]], np.float32)
    end = jax.jit(lambda z: solve(field, z, _linear(steps), solver))(start)
    return float(np.abs(end - (0.7 + 2 * start)).max())


def test_euler_is_of_first_order_and_unipc_of_second():
    euler = [_error("euler", steps) for steps in (10, 20, 40)]
    np.testing.assert_allclose([euler[0] / euler[1], euler[1] / euler[2]], 2, atol=0.25)
    unipc = [_error("unipc", steps) for steps in (20, 40, 80)]
    assert unipc[0] / unipc[1] > 3.8 and unipc[1] / unipc[2] > 3.8
    assert unipc[-1] > 1e-4  # curved enough to tell
    assert _error("unipc", 10) < 0.05 * _error("euler", 10)


@both
def test_pieces_of_a_table_are_the_table(solver):
    def field(z, t):
        return jnp.sin(z) + t

    chosen, grid, z = SOLVERS[solver], _linear(6, 3.0), _normal(2)
    rows, state = chosen.table(grid), chosen.start(z)
    for piece in (rows[:1], rows[1:1], rows[1:4], rows[4:]):
        state = advance(chosen, field, state, piece)
    whole = solve(field, z, grid, solver)
    np.testing.assert_array_equal(state[0], whole)
    assert np.abs(whole - z).max() > 0.1
    # Whatever a solver remembers does matter.
    again = advance(chosen, field, chosen.start(z), rows[:4])[0]
    forgetful = advance(chosen, field, chosen.start(again), rows[4:])[0]
    assert (np.abs(forgetful - whole).max() < 1e-6) == (solver == "euler")


def test_a_grid_may_end_before_the_data():
    data, noise = _normal(0), _normal(1)

    @jax.jit
    def run(data, noise):
        half = solve(lambda z, t: velocity(data, noise), noise, _grid(1.0, 0.6, 0.3))
        return half, interpolate(data, noise, jnp.full((2,), 0.3))

    np.testing.assert_allclose(*run(data, noise), atol=1e-6)


def test_from_pure_noise_unipc_is_the_limit_of_almost_pure_noise():
    """At level 1 lambda is infinite; nothing else is."""

    def field(z, t):
        return jnp.tanh(2 * z) + t

    table = SOLVERS["unipc"].table(_linear(8, 3.0))
    assert np.isfinite(table).all()
    sigmas = np.array(_linear(8, 3.0).sigmas)
    whole = solve(field, _normal(3), _linear(8, 3.0), "unipc")
    gaps = []
    for below in (1e-2, 1e-4, 1e-6):
        close = solve(field, _normal(3), _grid(1 - below, *sigmas[1:]), "unipc")
        gaps.append(np.abs(close - whole).max())
    assert gaps[0] > gaps[1] > gaps[2] and gaps[2] < 1e-3 < gaps[0]


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_every_step_agrees_with_diffusers(case):
    """Within 1e-6 of the largest value; theirs is computed in float64, ours in float32."""
    tensors = load_file(GOLDENS / "io.safetensors")
    weight, noise = (jnp.asarray(tensors[name]) for name in ("weight", "noise"))
    golden = {key: tensors[f"{case['name']}/{key}"] for key in ("sigmas", "times", "samples")}

    def field(z, t):
        return jnp.tanh(z @ weight) * jnp.cos(3 * t) + z * jnp.sin(2 * t) / 2

    grid = GRIDS[case["grid"]](case["steps"], case["shift"])
    np.testing.assert_allclose(grid.sigmas, golden["sigmas"], rtol=1e-7, atol=0)
    np.testing.assert_allclose(grid.times, golden["times"], rtol=1e-7, atol=0)

    chosen = SOLVERS[case["solver"]]
    state, largest = chosen.start(noise), np.abs(golden["samples"]).max()
    for row, expected in zip(chosen.table(grid), golden["samples"], strict=True):
        state = chosen.step(field, state, jnp.asarray(row))
        np.testing.assert_allclose(state[0], expected, rtol=0, atol=1e-6 * largest)
    end = solve(field, noise, grid, case["solver"])
    np.testing.assert_allclose(end, golden["samples"][-1], rtol=0, atol=1e-6 * largest)


def test_goldens_tell_solvers_and_grids_apart():
    tensors = load_file(GOLDENS / "io.safetensors")
    ends = {case["name"]: tensors[f"{case['name']}/samples"][-1] for case in CASES}
    assert len(ends) == 20
    for one, other in (("unipc-3-10", "euler-3-10"), ("unipc-3-50", "unipc-5-50")):
        assert np.abs(ends[one] - ends[other]).max() > 1e-4
