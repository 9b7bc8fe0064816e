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

from alchemint_jax.errors import ConfigError
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
        move: the state with another sample, from `(state, sample, row of the table)`, as if the
            whole way up to here had been that far aside: where the velocity does not depend on the
            sample, the end is as far aside.
    """

    table: Callable[[Grid], np.ndarray]
    start: Callable[[jax.Array], State]
    step: Callable[[Velocity, State, jax.Array], State]
    move: Callable[[State, jax.Array, jax.Array], State]


def advance(
    solver: Solver, velocity: Velocity, state: State, rows: Float[np.ndarray | Array, "n columns"]
) -> State:
    """The state after `rows` of the solver's table. Rows may be taken piece by piece."""

    def step(state: State, row: jax.Array) -> tuple[State, None]:
        return solver.step(velocity, state, row), None

    return jax.lax.scan(step, state, jnp.asarray(rows))[0]


def piece_of(steps: int, most: int = 10) -> int:
    """How many rows of a table are solved at once, so that equal pieces make up all of them."""
    return max(n for n in range(1, most + 1) if steps % n == 0)


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


SOLVER_TYPES = ("bh1", "bh2")


@dataclasses.dataclass(frozen=True)
class UniPC:
    """What can be chosen about UniPC; the defaults are Wan's.

    Attributes:
        solver_order: 1, 2 or 3: from how many predictions a step is made.
        solver_type: "bh1" or "bh2", the paper's B(h); it matters where the order leaves a choice.
        lower_order_final: whether the last step is of order 1, the one before it at most of 2, ...
        disable_corrector: steps, counted from 0, after which the sample is not corrected.
    """

    solver_order: int = 2
    solver_type: str = "bh2"
    lower_order_final: bool = True
    disable_corrector: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if type(self.solver_order) is not int or self.solver_order not in (1, 2, 3):
            raise ConfigError(f"unipc: solver_order is {self.solver_order!r}; it must be 1, 2 or 3")
        if self.solver_type not in SOLVER_TYPES:
            known = ", ".join(SOLVER_TYPES)
            raise ConfigError(
                f"unipc: solver_type is {self.solver_type!r}; it must be one of {known}"
            )
        if type(self.lower_order_final) is not bool:
            raise ConfigError(
                f"unipc: lower_order_final is {self.lower_order_final!r}; it must be true or false"
            )
        if not all(type(step) is int for step in self.disable_corrector):
            raise ConfigError(
                f"unipc: disable_corrector is {self.disable_corrector}; it must be whole numbers"
            )


def unipc(options: UniPC) -> Solver:
    """UniPC with these options."""
    return Solver(
        lambda grid: _unipc_table(grid, options),
        lambda z: (z, z, *[jnp.zeros_like(z)] * (options.solver_order - 1)),
        _unipc_step,
        _unipc_move,
    )


def _unipc_table(grid: Grid, options: UniPC) -> np.ndarray:
    """UniPC (data prediction, with corrector) as linear combinations.

    Zhao et al. 2023, arXiv 2302.04867. Let m = z - sigma v be the data that the model predicts and
    lambda = log((1 - sigma) / sigma). In lambda the flow is solved exactly by

        z' = r z + sigma' integral of exp(lambda) m dlambda,    r = sigma' / sigma,

    and since the weight of the integral adds up to 1 - r, z' is a mean of z and of predictions.
    With m0 the prediction here, mk the one k steps back and m' that of the next level:

        predictor   z' = r y + (1 - r) (m0 + sum of pk (mk - m0))
        corrector   y' = r y + (1 - r) (m0 + sum of ck (mk - m0) + c (m' - m0))

    y is the corrected sample; `_weights` gives pk, ck and c. m' is asked at the predicted z', for
    the next step needs it anyway: the corrector costs no pass of the model. The first steps have as
    many predictions as there are.

    Columns: time and sigma; c (1 - r) of the step before, to finish y; then r, and the weights of
    m0, m1, ... in z' and in y' without m'.
    """
    sigmas = np.asarray(grid.sigmas, np.float64)
    with np.errstate(divide="ignore"):  # the ends are infinite, as they should be
        logs = np.log1p(-sigmas) - np.log(sigmas)
    steps, finish, rows = len(grid.times), 0.0, []
    for i, time in enumerate(grid.times):
        r = sigmas[i + 1] / sigmas[i]
        order = min(options.solver_order, i + 1)
        if options.lower_order_final:
            order = min(order, steps - i)
        back = logs[i - np.arange(1, order)] - logs[i]
        p, c, new = _weights(logs[i + 1] - logs[i], back, options.solver_type)
        ahead = np.zeros((2, options.solver_order))
        ahead[0, :order] = [1 - p.sum(), *p]
        ahead[1, :order] = [1 - c.sum() - new, *c]
        if i in options.disable_corrector:
            ahead[1], new = ahead[0], 0.0
        rows.append([time, sigmas[i], finish, r, *(1 - r) * ahead.ravel()])
        finish = (1 - r) * new
    return np.asarray(rows, np.float32)


def _weights(h: float, back: np.ndarray, solver_type: str) -> tuple[np.ndarray, np.ndarray, float]:
    """The weights pk, ck and c of a step.

    They make predictor and corrector exact for predictions that are polynomials in lambda: with
    x = (lambda of mk - lambda) / h, and 1 for m', the sum of weights times x^j is moment j for
    j = 1, 2, ... The predictor of order 2 and the corrector of order 1 take half of the paper's B
    instead. A prediction made at sigma = 1, where lambda is minus infinity, has no weight, which is
    the limit.

    Args:
        h: the step in lambda.
        back: lambda of m1, m2, ... less lambda, [order - 1].
        solver_type: one of `SOLVER_TYPES`.
    """
    p, c = np.zeros(len(back)), np.zeros(len(back))
    if not np.isfinite(h) or h == 0:  # from pure noise, to data, or nowhere: of order 1
        return p, c, 0.5
    half = 0.5 if solver_type == "bh2" else h / -np.expm1(-h) / 2
    near = np.isfinite(back)
    x = back[near] / h
    if len(back) == 1:
        p[near] = half / x
    else:
        p[near] = _fit(x, h)
    if len(back) == 0:
        return p, c, half
    *c[near], new = _fit(np.append(x, 1), h)
    return p, c, new


def _fit(x: np.ndarray, h: float) -> np.ndarray:
    """Weights at the places `x` that have the moments of exp(lambda) over a step of `h`."""
    scale = np.expm1(-h)
    phi, factorial, moments = scale / -h - 1, 1, []
    for j in range(1, len(x) + 1):
        moments.append(phi * factorial / scale)
        factorial *= j + 1
        phi = phi / -h - 1 / factorial
    return np.linalg.solve(np.vander(x, increasing=True).T * x, moments)


def _unipc_step(velocity: Velocity, state: State, row: jax.Array) -> State:
    """The state: sample, the corrected sample less what the next prediction adds, m1, m2, ..."""
    z, base, *before = state
    time, sigma, finish, r = row[:4]
    made = (z - sigma * velocity(z, time), *before)
    kept = r * (base + finish * made[0])
    p, c = jnp.split(row[4:], 2)
    ahead, corrected = (sum((w * m for w, m in zip(x, made, strict=True)), kept) for x in (p, c))
    return ahead, corrected, *made[:-1]


def _unipc_move(state: State, sample: jax.Array, row: jax.Array) -> State:
    """Predictions move with the samples that they were made of, and the next one will, too."""
    z, base, *before = state
    finish, aside = row[2], sample - z
    return sample, base + (1 - finish) * aside, *(m + aside for m in before)


SOLVERS = {
    "euler": Solver(_euler_table, lambda z: (z,), _euler_step, lambda state, z, row: (z,)),
    "unipc": unipc(UniPC()),
}
"""By the names that `Settings.solver` knows. Every UniPC has the same step."""
