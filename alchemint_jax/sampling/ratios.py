"""Measuring a step cache: how the lengths of a model's residuals change from step to step."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from alchemint_jax.errors import ConfigError, NonFiniteError
from alchemint_jax.models.dit.conditioning import Conditions
from alchemint_jax.sampling.conditions import common_shape, encode_conditions, latent_shape
from alchemint_jax.sampling.parts import Parts
from alchemint_jax.sampling.passes import Kind, Passes, Residuals, solve_passes
from alchemint_jax.sampling.sample import Models
from alchemint_jax.sampling.settings import Plan
from alchemint_jax.sampling.step_cache import Rule, StepCache, branch_names, grid_of
from alchemint_jax.scene.scene import Scene


def measure_ratios(
    models: Models,
    conditions: Conditions,
    noise: Float[Array, "b t h w c"],
    plan: Plan,
    on_step: Callable[[int], None] | None = None,
) -> Float[np.ndarray, "s p"]:
    """Mean length of a token's residual over its length at the step before, for each branch.

    Every step is guided and computed. The first row is 1.

    Args:
        models: the transformer.
        conditions: of the batch that is sampled for it.
        noise: that it starts from.
        plan: of the grid and the branches.
        on_step: is told how many steps are done.
    """
    guidance, solver = plan.guidance, plan.method()
    branches = guidance.branches()
    whole = Kind(tuple(range(len(branches))))
    passes = Passes(
        tuple(branches),
        (whole,),
        np.asarray([list(branches.values())], np.float32),
        np.zeros(1, np.int32),
    )
    rows, state = jax.device_put(solver.table(plan.levels())), solver.start(noise)
    residuals = Residuals.none(models.dit, len(branches), noise)
    found = [np.ones(len(branches))]
    for i in range(plan.steps):
        state, new, _ = solve_passes(
            *(models.dit_params, conditions, state, residuals, rows[i : i + 1], passes),
            dit=models.dit,
            solver=plan.solver,
        )
        assert new is not None
        if i:
            found.append(np.asarray(_ratio(new.value, residuals.value), np.float64))
        residuals = new
        if on_step is not None:
            on_step(i + 1)
    return np.stack(found)


def measure_table(
    parts: Parts,
    scenes: Sequence[Scene],
    plan: Plan,
    rule: Rule,
    seed: int = 0,
    on_step: Callable[[int], None] | None = None,
) -> StepCache:
    """The table of a model, measured on scenes of one size and length, one after another.

    Args:
        parts: the model, which was read from files.
        scenes: what it renders for it.
        plan: of the grid and the branches; it is guided at every step.
        rule: what the measured ratios, means over the scenes, become a table by.
        seed: of the noise; scene i starts from `(seed, i)`, as `Pipeline.render` does.
        on_step: is told how many steps of all scenes are done.

    Raises:
        ConfigError: the model was not read from files, or has two experts.
        StoryboardError: a scene has another size or length than the first.
    """
    if parts.origin is None:
        raise ConfigError("a step cache is for models that were read from files")
    if parts.models.low is not None:
        raise ConfigError(
            "a step cache is for models of one transformer, and this one has two experts"
        )
    size, clock = common_shape(parts, scenes)
    shape, found = latent_shape(parts, scenes), []
    for i, scene in enumerate(scenes):
        conditions = encode_conditions(parts, [scene])
        noise = jax.random.normal(jax.random.fold_in(jax.random.key(seed), i), (1, *shape))

        def done(step: int, before: int = i * plan.steps) -> None:
            if on_step is not None:
                on_step(before + step)

        found.append(measure_ratios(parts.models, conditions, noise, plan, done))
    ratios = np.mean(found, axis=0)
    if not np.isfinite(ratios).all():
        raise NonFiniteError("the transformer gave residuals that are NaN or infinite")
    names = branch_names(plan.guidance.branches())
    return StepCache(
        parts.origin.fingerprint(),
        grid_of(plan),
        names,
        size,
        int(clock.frames),
        tuple(tuple(map(bool, row)) for row in rule.table(ratios, names).T),
        tuple(tuple(map(float, row)) for row in ratios.T),
        rule,
    )


@jax.jit
def _ratio(new: Float[Array, "p b v d"], old: Float[Array, "p b v d"]) -> Float[Array, " p"]:
    lengths = (jnp.linalg.norm(x.astype(jnp.float32), axis=-1) for x in (new, old))
    above, below = lengths
    return (above / jnp.maximum(below, 1e-12)).mean((1, 2))
