"""Control of a step: what is asked for happens, and nothing where nothing is asked for."""

from __future__ import annotations

import dataclasses
import re
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from alchemint_jax.models.dit import Bias, DiT, DiTConfig, Probe
from alchemint_jax.models.dit.conditioning import Conditions
from alchemint_jax.ops.bias import HIDDEN
from alchemint_jax.sampling import Guidance
from alchemint_jax.sampling.control import Moment, Steered
from alchemint_jax.sampling.sample import Models, sample_latents, solve_piece
from alchemint_jax.sampling.settings import Plan
from alchemint_jax.sampling.solvers import SOLVERS

FRAMES, B = 5, 2
CONFIG = DiTConfig(
    dim=24,
    n_heads=2,
    n_layers=2,
    ffn_dim=32,
    in_channels=3,
    out_channels=3,
    text_dim=10,
    freq_dim=16,
    slots=2,
)
PLAN = Plan(12, 3.0, Guidance(0.5, 0.5, 1.0))
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def models():
    rng = np.random.default_rng(0)
    params = jax.tree.map(
        lambda x: jax.device_put(np.float32(rng.normal(0.05, 0.3, x.shape))),
        DiT(CONFIG).abstract_params(),
    )
    return Models(DiT(CONFIG), params, None, {})


def _conditions():
    rng = np.random.default_rng(1)

    def normal(*shape):
        return jax.device_put(np.float32(rng.standard_normal(shape)))

    return Conditions(
        text=normal(B, 5, 10),
        null_text=normal(B, 5, 10),
        references=normal(B, 2, 4, 4, 3),
        used=jnp.ones((B, 2), bool),
        intervals=jnp.asarray([[[[0.0, 1.0]], [[2.0, 4.0]]]] * B),
        tags=normal(B, 2, 3, 10),
        tag_mask=jnp.ones((B, 2, 3), bool),
    )


def _noise():
    return jax.device_put(
        np.float32(np.random.default_rng(2).standard_normal((B, FRAMES, 4, 4, 3)))
    )


def _run(models, control=None, plan=PLAN, conditions=None, guide=None):
    given = conditions or _conditions()
    return sample_latents(models, given, _noise(), plan, None, control, guide)


def _inside(intervals):
    """Whether a latent frame is in an interval of a subject [b t r]."""
    frame = jnp.arange(FRAMES, dtype=jnp.float32)[None, :, None, None]
    start, end = (intervals[:, None, :, :, i] for i in (0, 1))
    return ((frame >= start) & (frame <= end)).any(-1)


@partial(jax.tree_util.register_dataclass, data_fields=["depth"], meta_fields=[])
@dataclasses.dataclass(frozen=True)
class Gate:
    """Hides each reference outside of its interval, and these frames from the reference."""

    depth: jax.Array | float = HIDDEN

    def bias(self, moment: Moment) -> Bias:
        hidden = jnp.where(_inside(moment.conditions.intervals), 0.0, self.depth)
        return Bias(subjects=hidden, frames=hidden.swapaxes(1, 2))

    def __call__(self, moment, latents):
        return Steered(latents, self.bias(moment))


@partial(jax.tree_util.register_dataclass, data_fields=["rate", "heard"], meta_fields=["probe"])
@dataclasses.dataclass(frozen=True)
class Follow:
    """Moves the latents to where a subject is looked at in its interval; writes down how much."""

    rate: jax.Array | float
    heard: jax.Array
    probe: Probe = Probe(places=False)

    def wanted(self, moment, latents):
        seen = moment.look(latents, self.probe)
        given = (seen.references + seen.tags).mean((0, 2, 4, 5))
        inside = _inside(moment.conditions.intervals)
        return jnp.where(inside, given, -given).sum()

    def __call__(self, moment, latents):
        value, slope = jax.value_and_grad(partial(self.wanted, moment))(latents)
        slope = slope / jnp.linalg.norm(slope)
        after = dataclasses.replace(self, heard=self.heard.at[moment.step].set(value))
        return Steered(latents + self.rate * slope, control=after)


def test_a_gate_hides_a_reference_outside_of_its_interval(models):
    """A picture that nobody may look at outside of frames 2 to 4 says nothing to frames 0 and 1.

    In one layer: later ones look at frames that have looked at it.
    """
    one = models._replace(dit=DiT(dataclasses.replace(CONFIG, n_layers=1)))
    params = jax.tree.map(lambda x: x[:1], models.dit_params["blocks"])
    one = one._replace(dit_params=models.dit_params | {"blocks": params})
    conditions, plan = _conditions(), dataclasses.replace(PLAN, steps=1)
    other = conditions._replace(references=conditions.references.at[:, 1].add(5.0))

    def change(control):
        given = (_run(one, control, plan, x) for x in (conditions, other))
        return np.abs(next(given) - next(given)).max((0, 2, 3, 4))

    gated, free = change(Gate()), change(None)
    assert (gated[:2] == 0).all() and gated[2:].min() > 1e-3 and free.min() > 1e-3
    assert (change(Gate(-3.0))[:2] > 0).all()  # a soft one lets something through


def test_a_control_follows_the_gradient_of_what_is_attended_to(models):
    rows, guide = jnp.asarray(SOLVERS["euler"].table(PLAN.levels())), PLAN.guidance.function()

    def solved(rate):
        given = (models.dit_params, _conditions(), (_noise(),), rows, guide)
        control = Follow(rate, jnp.zeros(12))
        (latents,), after = solve_piece(*given, control, 0, dit=models.dit, solver="euler")
        return latents, np.asarray(after.heard)

    (still, before), (_, after) = solved(0.0), solved(0.3)
    np.testing.assert_allclose(still, _run(models), atol=1e-5)
    assert before[0] == pytest.approx(after[0], abs=1e-6)  # both start from the same noise
    assert (after[1:] > before[1:]).all() and np.ptp(before) > 1e-4


@partial(jax.tree_util.register_dataclass, data_fields=["seen"], meta_fields=[])
@dataclasses.dataclass(frozen=True)
class Remember:
    """Shifts the latents by how often it was asked, and tells of nothing else."""

    seen: jax.Array

    def __call__(self, moment, latents):
        shift = jnp.where(self.seen == moment.step, 0.01 * self.seen, jnp.nan)
        return Steered(latents + shift, control=Remember(self.seen + 1))


def test_what_a_control_remembers_goes_from_step_to_step_and_piece_to_piece(models):
    """12 steps are solved in two pieces; step numbers and memory go on in the second."""
    moved = _run(models, Remember(jnp.zeros((), jnp.int32)))
    assert np.isfinite(moved).all() and np.abs(moved - _run(models)).max() > 0.1


def test_a_plain_function_is_a_control_and_the_batch_is_whole_in_every_pass(models):
    def of_the_second(moment, latents):
        hide = jnp.zeros((B, FRAMES, 2)).at[1].set(HIDDEN)
        return Steered(latents, Bias(subjects=hide))

    steered, free = _run(models, of_the_second), _run(models)
    np.testing.assert_allclose(steered[0], free[0], atol=1e-5)
    assert np.abs(steered[1] - free[1]).max() > 1e-2


@pytest.mark.parametrize("solver", list(SOLVERS))
def test_a_moved_sample_is_where_the_solver_goes_on(solver):
    """Where the velocity is the same everywhere, the end is as far aside as the sample was put."""
    chosen = SOLVERS[solver]
    plan = Plan(8, 3.0, Guidance(), solver)
    rows = jnp.asarray(chosen.table(plan.levels()))

    def velocity(z, t):
        return jnp.broadcast_to(jnp.sin(3 * t), z.shape)  # does not depend on where z is

    def ends(at):
        state = chosen.start(jnp.zeros((1, 2)))
        for i, row in enumerate(rows):
            if i == at:
                state = chosen.move(state, state[0] + 1.5, row)
            state = chosen.step(velocity, state, row)
        return state[0]

    free = ends(None)
    for at in (0, 1, 4, 7):
        np.testing.assert_allclose(ends(at) - free, 1.5, atol=1e-5)


def test_a_guidance_is_any_function_of_model_sample_and_time(models):
    given = dataclasses.replace(PLAN, guidance=Guidance(0, 0, 1))

    def conditional_early(model, z, time):
        everything = jnp.ones(len(z), bool)
        v = model(z, everything, everything)
        both = model(jnp.tile(z, (2, 1, 1, 1, 1)), *[jnp.repeat(jnp.asarray([True, False]), B)] * 2)
        return jnp.where(time > 2, v, both[:B])

    steered = _run(models, guide=conditional_early)
    np.testing.assert_allclose(steered, _run(models, plan=given), atol=1e-5)
    still = _run(models, guide=lambda model, z, time: 0 * z)
    np.testing.assert_array_equal(still, _noise())


def test_without_a_control_the_program_is_the_one_without(models):
    """Text of the optimised program; a control makes another one, of more operations."""
    rows = jnp.asarray(SOLVERS["euler"].table(PLAN.levels()))
    given = (models.dit_params, _conditions(), (_noise(),), rows, PLAN.guidance.function())

    def text(*more):
        return solve_piece.lower(*given, *more, dit=models.dit, solver="euler")

    def operations(compiled):
        """Without where in a file each comes from, which no two calls have in common."""
        lines = [line for line in compiled.as_text().splitlines() if " = " in line]
        return [re.sub(r", metadata=\{[^}]*\}", "", line) for line in lines]

    default = operations(text().compile())
    assert operations(text(None, None).compile()) == default and len(default) > 100
    controlled = text(Gate(), 0).as_text()
    products = [t.count("dot_general") for t in (text().as_text(), controlled)]
    # A gate alone costs no further product: it makes those of queries and keys wider.
    assert products[0] == products[1] and len(controlled) > len(text().as_text())
