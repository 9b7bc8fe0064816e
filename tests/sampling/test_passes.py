"""Skipped passes: against a loop written out, step by step; nothing is skipped unasked."""

from __future__ import annotations

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_control import CONFIG, FRAMES, B, Gate, Remember, _conditions, _noise

from alchemint_jax.models.dit import DiT
from alchemint_jax.models.dit.conditioning import model_inputs
from alchemint_jax.sampling import Guidance
from alchemint_jax.sampling.control import Together
from alchemint_jax.sampling.passes import Residuals, scheduled, solve_passes
from alchemint_jax.sampling.ratios import measure_ratios
from alchemint_jax.sampling.sample import Models, sample_latents, solve_piece
from alchemint_jax.sampling.settings import Plan
from alchemint_jax.sampling.solvers import SOLVERS
from alchemint_jax.sampling.step_cache import Rule, StepCache, branch_names, grid_of

pytestmark = pytest.mark.slow
PLAN = Plan(12, 3.0, Guidance(text=0.5, image=0, both=2.0))
TABLE = {"null": "110100010001", "text": "110000010001", "both": "110100010001"}


@pytest.fixture(scope="module")
def models():
    rng = np.random.default_rng(0)
    params = jax.tree.map(
        lambda x: jax.device_put(np.float32(rng.normal(0.05, 0.3, x.shape))),
        DiT(CONFIG).abstract_params(),
    )
    return Models(DiT(CONFIG), params, None, {})


def _cache(plan, rows):
    computed = tuple(tuple(digit == "1" for digit in row) for row in rows.values())
    return StepCache("m", grid_of(plan), tuple(rows), (8, 8), 9, computed, (), Rule())


@pytest.fixture(scope="module")
def ask(models):
    """The transformer for one branch: velocity and residual, or velocity by a residual."""

    @partial(jax.jit, static_argnames=("with_text", "with_images"))
    def computed(z, t, *, with_text, with_images):
        flags = (jnp.full(B, x) for x in (with_text, with_images))
        text, extra = model_inputs(_conditions(), *flags)
        given = {"params": models.dit_params}
        return models.dit.apply(given, z, jnp.full(B, t), text, keep_residual=True, **extra)

    @jax.jit
    def reused(z, t, residual):
        given = {"params": models.dit_params}
        text = jnp.zeros((B, 0, CONFIG.text_dim))
        return models.dit.apply(given, z, jnp.full(B, t), text, residual=residual)

    return computed, reused


def test_a_residual_stands_for_the_layers(models, ask):
    computed, reused = ask
    v, residual = computed(_noise(), 0.7, with_text=True, with_images=True)
    assert residual.shape == (B, FRAMES * 4, CONFIG.dim)
    np.testing.assert_allclose(reused(_noise(), 0.7, residual), v, atol=1e-5)
    # The head follows time and latents.
    assert np.abs(reused(_noise(), 0.3, residual) - v).max() > 1e-2
    assert np.abs(reused(2 * _noise(), 0.7, residual) - v).max() > 1e-2


def _by_hand(ask, plan, rows):
    """The whole flow, with each branch by itself."""
    computed, reused = ask
    solver = SOLVERS[plan.solver]
    state, known = solver.start(_noise()), {}
    for i, row in enumerate(solver.table(plan.levels())):
        guided = plan.guidance.guided(plan.steps)[i]
        branches = plan.guidance.branches() if guided else Guidance(0, 0, 1).branches()

        def velocity(z, t, i=i, branches=branches):
            total = 0
            for branch, weight in branches.items():
                name = branch_names([branch])[0]
                value, slope, before = known.get(name, (0, 0, np.inf))
                if rows is None or rows[name][i] == "1" or name not in known:
                    v, new = computed(z, t, **branch._asdict())
                    known[name] = (new, (new - value) / (t - before), t)
                else:
                    v = reused(z, t, value + slope * (t - before))
                total = total + weight * v
            return total

        state = solver.step(velocity, state, jnp.asarray(row))
    return state[0]


def test_skipped_passes_are_those_of_the_table(models, ask):
    cached = sample_latents(models, _conditions(), _noise(), PLAN, cache=_cache(PLAN, TABLE))
    np.testing.assert_allclose(cached, _by_hand(ask, PLAN, TABLE), atol=2e-4)
    assert np.abs(cached - _by_hand(ask, PLAN, None)).max() > 1e-2


def test_guidance_in_an_interval(models, ask):
    """By a solver that remembers, from one piece to the next."""
    whole = dataclasses.replace(PLAN, solver="unipc")
    guidance = dataclasses.replace(PLAN.guidance, interval=(0.2, 0.6))
    plan = dataclasses.replace(whole, guidance=guidance)
    done = []
    found = sample_latents(models, _conditions(), _noise(), plan, done.append)
    np.testing.assert_allclose(found, _by_hand(ask, plan, None), atol=2e-4)
    assert np.abs(found - _by_hand(ask, whole, None)).max() > 1e-2 and done == [6, 12]


def test_controls_go_with_skipped_passes(models):
    """`Remember` gives NaN where it is asked at another step than the one that comes next."""
    given = (models, _conditions(), _noise(), PLAN, None)
    cache = _cache(PLAN, TABLE)
    free = sample_latents(*given, None, None, cache)
    both = Together((Gate(), Remember(jnp.zeros((), jnp.int32))))
    steered = sample_latents(*given, both, None, cache)
    assert np.isfinite(steered).all() and np.abs(steered - free).max() > 0.1


def test_ratios_are_those_of_lengths(models, ask):
    plan = Plan(3, 3.0, Guidance(both=1))
    ratios = measure_ratios(models, _conditions(), _noise(), plan)
    grid, (z,) = plan.levels(), SOLVERS["euler"].start(_noise())
    lengths = []
    for i in range(3):
        v, residual = ask[0](z, grid.times[i], with_text=True, with_images=True)
        lengths.append(np.linalg.norm(residual, axis=-1))
        z = z + (grid.sigmas[i + 1] - grid.sigmas[i]) * v
    expected = [1.0, *(np.mean(b / a) for a, b in zip(lengths[:-1], lengths[1:], strict=True))]
    np.testing.assert_allclose(ratios[:, 0], expected, rtol=1e-4)
    assert np.ptp(ratios) > 1e-3


def test_without_a_cache_the_program_skips_nothing(models):
    """As StableHLO: a program of tables has branches, the one without has none, and no residual."""
    rows = jnp.asarray(SOLVERS["euler"].table(PLAN.levels()))
    guide = PLAN.guidance.function()
    given = (models.dit_params, _conditions(), (_noise(),), rows, guide)
    plain = solve_piece.lower(*given, dit=models.dit, solver="euler").as_text()
    passes = scheduled(PLAN.guidance, PLAN.steps, _cache(PLAN, TABLE))
    residuals = Residuals.none(models.dit, 3, _noise())
    asked = (*given[:3], residuals, rows, passes)
    cached = solve_passes.lower(*asked, dit=models.dit, solver="euler").as_text()
    assert scheduled(PLAN.guidance, PLAN.steps) is None
    size = f"tensor<3x{B}x{FRAMES * 4}x{CONFIG.dim}xf32>"
    for sign in ("stablehlo.case", size):
        assert sign in cached and sign not in plain
