"""Solvers and grids against diffusers, live: at other steps and shifts than the goldens have."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest
from reference_solvers import inputs, run

from alchemint_jax.flow import GRIDS
from alchemint_jax.sampling import SOLVERS, solve


@pytest.mark.parametrize(
    ("solver", "grid"), [("unipc", "diffusers-unipc"), ("euler", "diffusers-euler")]
)
@pytest.mark.parametrize("shift", [1.0, 2.22, 8.0, 12.0])
@pytest.mark.parametrize("steps", [4, 5, 20, 33])
def test_diffusers(solver, grid, shift, steps):
    case = {"solver": solver, "shift": shift, "steps": steps}
    theirs, ours = run(case), GRIDS[grid](steps, shift)
    np.testing.assert_allclose(ours.sigmas, theirs["sigmas"], rtol=1e-7, atol=0)
    np.testing.assert_allclose(ours.times, theirs["times"], rtol=1e-7, atol=0)

    weight, noise = (jnp.asarray(x) for x in inputs().values())

    def field(z, t):
        return jnp.tanh(z @ weight) * jnp.cos(3 * t) + z * jnp.sin(2 * t) / 2

    chosen = SOLVERS[solver]
    state, largest = chosen.start(noise), np.abs(theirs["samples"]).max()
    for row, expected in zip(chosen.table(ours), theirs["samples"], strict=True):
        state = chosen.step(field, state, jnp.asarray(row))
        np.testing.assert_allclose(state[0], expected, rtol=0, atol=1e-6 * largest)
    end = solve(field, noise, ours, solver)
    np.testing.assert_allclose(end, theirs["samples"][-1], rtol=0, atol=1e-6 * largest)
