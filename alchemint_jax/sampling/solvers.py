"""Solvers of the flow's differential equation dz/dsigma = velocity, for sigma from noise to 0.

A solver is a table of coefficients, one row per step, computed in float64 on the host, and one
linear update that every step applies. So a whole solution is a single `lax.scan` without branches,
and a table may be cut anywhere: what a solver remembers travels in its state.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from alchemint_jax.flow import Grid

Velocity = Callable[[Float[Array, " b *rest"], Float[Array, ""]], Float[Array, " b *rest"]]
State = tuple[jax.Array, ...]
"""What a solver carries from step to step. The first array is the sample."""


@dataclasses.dataclass(frozen=True)
class Solver:
    """One method.

    Attributes:
        table: coefficients of a grid, float32 [steps, columns].
        start: the state at the grid's first noise level.
        step: the state one step on, from `(velocity, state, row of the table)`.
    """

    table: Callable[[Grid], np.ndarray]
    start: Callable[[jax.Array], State]
    step: Callable[[Velocity, State, jax.Array], State]


def advance(
    solver: Solver, velocity: Velocity, state: State, rows: Float[np.ndarray | Array, "n columns"]
) -> State:
    """The state after `rows` of the solver's table. Rows may be taken piece by piece."""

    def step(state: State, row: jax.Array) -> tuple[State, None]:
        return solver.step(velocity, state, row), None

    return jax.lax.scan(step, state, jnp.asarray(rows))[0]


def solve(
    velocity: Velocity, z: Float[Array, " b *rest"], grid: Grid, solver: str = "euler"
) -> Float[Array, " b *rest"]:
    """The sample at the end of `grid` that starts as `z` at its first level.

    Args:
        velocity: of `(sample, time)`, asked once a step.
        z: sample.
        grid: see `alchemint_jax.flow.GRIDS`.
        solver: one of `SOLVERS`.
    """
    chosen = SOLVERS[solver]
    return advance(chosen, velocity, chosen.start(z), chosen.table(grid))[0]


# --------------------------------------------------------------------------------------- Euler


def _euler_table(grid: Grid) -> np.ndarray:
    """Columns: time, change of sigma."""
    return np.stack([grid.times, np.diff(grid.sigmas)], axis=1)


def _euler_step(velocity: Velocity, state: State, row: jax.Array) -> State:
    (z,), (time, change) = state, row
    return (z + change * velocity(z, time),)


# --------------------------------------------------------------------------------------- UniPC


def _unipc_table(grid: Grid) -> np.ndarray:
    """UniPC of order 2 (B2, data prediction, corrector) as linear combinations.

    Zhao et al. 2023, arXiv 2302.04867. Let m = z - sigma v be the data that the model predicts and
    lambda = log((1 - sigma) / sigma). In lambda the flow is solved exactly by

        z' = r z + sigma' integral of exp(lambda) m dlambda,    r = sigma' / sigma,

    and since the weight of the integral adds up to 1 - r, z' is a mean of z and of predictions.
    With h the step in lambda, m0 the prediction here, m1 the one a step back, m2 that of the next
    level, D = q (m1 - m0) and q = h / (lambda of m1 - lambda), which is negative:

        predictor   z' = r y + (1 - r) (m0 + D / 2)
        corrector   y' = r y + (1 - r) (m0 + c1 D + c2 (m2 - m0))

    y is the corrected sample. Order 2 leaves c1 and c2 no choice (`_corrector`). m2 is asked at the
    predicted z', for the next step needs it anyway: the corrector costs no pass of the model.
    Where there is no m1, and for the last step, which takes m0 as it is, the order is 1: D = 0 and
    c2 = 1/2. At sigma = 1, where lambda is minus infinity, q = 0 is the limit.

    Columns: time and sigma; c2 (1 - r) of the step before, to finish y; then r, and the weights of
    m0 and m1 in z' and in y' without m2.
    """
    sigmas = np.asarray(grid.sigmas, np.float64)
    with np.errstate(divide="ignore"):  # the ends are infinite, as they should be
        logs = np.log1p(-sigmas) - np.log(sigmas)
    steps, finish, rows = len(grid.times), 0.0, []
    for i, time in enumerate(grid.times):
        r = sigmas[i + 1] / sigmas[i]
        q, c1, c2 = 0.0, 0.0, 0.5
        if 0 < i < steps - 1:
            h = logs[i + 1] - logs[i]
            q = h / (logs[i - 1] - logs[i])
            c1, c2 = _corrector(h, q)
        ahead = np.array([1 - q / 2, q / 2, 1 - c1 * q - c2, c1 * q])
        rows.append([time, sigmas[i], finish, r, *(1 - r) * ahead])
        finish = (1 - r) * c2
    return np.asarray(rows, np.float32)


def _corrector(h: float, q: float) -> tuple[float, float]:
    """The weights c1 and c2 that make the corrector exact for predictions quadratic in lambda.

    They solve c1 + c2 = b1 and c1 / q + c2 = b2, the paper's R c = b with B(h) = exp(-h) - 1.
    """
    scale = np.expm1(-h)
    phi = scale / -h - 1
    b1, b2 = phi / scale, 2 * (phi / -h - 0.5) / scale
    c1 = (b2 - b1) * q / (1 - q)
    return c1, b1 - c1


def _unipc_start(z: jax.Array) -> State:
    """Sample, the corrected sample less what the next prediction adds, the last prediction."""
    return z, z, jnp.zeros_like(z)


def _unipc_step(velocity: Velocity, state: State, row: jax.Array) -> State:
    z, base, m1 = state
    time, sigma, finish, r, p0, p1, c0, c1 = row
    m0 = z - sigma * velocity(z, time)
    kept = r * (base + finish * m0)
    return kept + p0 * m0 + p1 * m1, kept + c0 * m0 + c1 * m1, m0


SOLVERS = {
    "euler": Solver(_euler_table, lambda z: (z,), _euler_step),
    "unipc": Solver(_unipc_table, _unipc_start, _unipc_step),
}
"""By the names that `Settings.solver` knows."""
