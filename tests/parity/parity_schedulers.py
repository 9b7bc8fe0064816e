"""Schedulers' configurations against diffusers, live: every field of its signatures, each change
followed or refused, at other numbers of steps than the goldens have.
"""

from __future__ import annotations

import inspect
import json

import diffusers
import jax.numpy as jnp
import numpy as np
import pytest
from reference_schedulers import SINGLE, base, changed, changes, run, same
from reference_solvers import inputs

from alchemint_jax.errors import AlchemintError
from alchemint_jax.sampling.wan_settings import wan_settings

CHANGES = changes()


@pytest.mark.parametrize("kind", list(SINGLE))
def test_every_field_of_diffusers_is_changed(kind):
    """A newer diffusers with a field more fails here."""
    fields = set(inspect.signature(getattr(diffusers, kind).__init__).parameters) - {"self"}
    assert fields <= SINGLE[kind].keys()


def ours(folder, config, steps):
    """Levels, times and the sample after every step; None where it is refused."""
    (folder / "scheduler").mkdir(exist_ok=True)
    (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps(config))
    try:
        plan = wan_settings(folder, 16).plan(steps)
    except AlchemintError:
        return None
    levels, solver = plan.levels(), plan.method()
    weight, noise = (jnp.asarray(x) for x in inputs().values())

    def field(z, t):
        return jnp.tanh(z @ weight) * jnp.cos(3 * t) + z * jnp.sin(2 * t) / 2

    state, samples = solver.start(noise), []
    for row in solver.table(levels):
        state = solver.step(field, state, jnp.asarray(row))
        samples.append(state[0])
    return {"sigmas": levels.sigmas, "times": levels.times, "samples": np.stack(samples)}


@pytest.mark.parametrize(
    ("kind", "change"), CHANGES, ids=[f"{kind}-{json.dumps(change)}" for kind, change in CHANGES]
)
@pytest.mark.parametrize("steps", [1, 2, 9, 40])
def test_a_change_is_followed_or_refused(kind, change, steps, tmp_path):
    config = changed(base(kind), change)
    theirs, found = run(config, steps), ours(tmp_path, config, steps)
    if found is None:
        assert theirs is None or not same(theirs, run(base(kind), steps)) or steps < 3
        return
    assert theirs is not None
    for name, tolerance in {"sigmas": 2e-7, "times": 2e-7, "samples": 1e-6}.items():
        largest = np.abs(theirs[name]).max()
        np.testing.assert_allclose(found[name], theirs[name], rtol=0, atol=tolerance * largest)
