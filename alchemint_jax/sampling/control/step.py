"""What may act on a step of sampling: a bias for this step, an update of its latents, or both.

Axes: b batch, t latent frames, h w latent grid, c channels.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from alchemint_jax.models.dit import Attended, Bias, Probe
from alchemint_jax.models.dit.conditioning import Conditions
from alchemint_jax.sampling.solvers import Solver, State

BiasedVelocity = Callable[[jax.Array, jax.Array, Bias | None], jax.Array]
"""Velocity of `(samples, time, bias)`."""

Look = Callable[[jax.Array, jax.Array, Probe, Bias | None], Attended]
"""What the conditional pass attends to, of `(samples, time, probe, bias)`."""


@dataclasses.dataclass(frozen=True)
class Moment:
    """The step that is about to be made.

    Attributes:
        step: how many steps were made before [].
        steps: how many there are in all [].
        time: flow time of the latents [], 1 is noise.
        conditions: what the batch is conditioned on; `conditions.intervals` says when its subjects
            are on screen, in latent frames.
        layers: how many the transformer has.
    """

    step: jax.Array
    steps: jax.Array
    time: jax.Array
    conditions: Conditions
    layers: int
    _look: Look

    def look(
        self,
        latents: Float[Array, "b t h w c"],
        probe: Probe,
        bias: Bias | None = None,
        time: Float[Array, ""] | None = None,
    ) -> Attended:
        """What the video attends to in the conditional pass, which it costs.

        `time` is that of the latents, if it is not that of the step.
        It may be differentiated by the latents: the pass is then computed twice, layer by layer,
        and keeps no more than one layer's activations beside the inputs of all.
        """
        return self._look(latents, self.time if time is None else time, probe, bias)

    def under(self, bias: Bias) -> Moment:
        """The same moment, where the video looks under this bias as well."""

        def look(z: jax.Array, t: jax.Array, probe: Probe, more: Bias | None) -> Attended:
            return self._look(z, t, probe, bias if more is None else bias + more)

        return dataclasses.replace(self, _look=look)


class Steered(NamedTuple):
    """What a control decides for a step."""

    latents: jax.Array
    """Where the step starts [b t h w c]; those that the control was given leave it alone."""
    bias: Bias | None = None
    """Of every pass of this step, with and without text and pictures: if it held for one of them
    only, guidance would amplify the difference. What it says of words is of passes that have the
    caption."""
    control: Any = None
    """The control of the next step, if it remembers something; None leaves it as it is."""


Control = Callable[[Moment, jax.Array], Steered]
"""Decides about a step that starts at latents [b t h w c], inside the compiled loop.

It is a pytree that can be called: a frozen dataclass under `jax.tree_util.register_dataclass`, or
`jax.tree_util.Partial` around a function. Its leaves are data, which may change from step to step
(`Steered.control`); all else is compiled in. A plain function will do where there is no data.
"""


@partial(jax.tree_util.register_dataclass, data_fields=["controls"], meta_fields=[])
@dataclasses.dataclass(frozen=True)
class Together:
    """Several controls as one: each starts from the latents of the one before; biases add up.

    What the video attends to is asked under the biases of those before: who asks comes last.
    """

    controls: tuple[Any, ...]

    @classmethod
    def of(cls, *controls: Any) -> Any:
        """All that are there, one after another; None where none is."""
        parts: list[Any] = []
        for control in controls:
            if control is not None:
                parts += control.controls if isinstance(control, Together) else (control,)
        return cls(tuple(parts)) if len(parts) > 1 else parts[0] if parts else None

    def __call__(self, moment: Moment, latents: Float[Array, "b t h w c"]) -> Steered:
        """See `Control`."""
        bias, after = None, []
        for control in self.controls:
            steered = control(moment, latents)
            latents = steered.latents
            after.append(control if steered.control is None else steered.control)
            if steered.bias is not None:
                bias = steered.bias if bias is None else bias + steered.bias
                moment = moment.under(steered.bias)
        return Steered(latents, bias, Together(tuple(after)))


def steer(
    solver: Solver, control: Any, moment: Moment, state: State, row: jax.Array
) -> tuple[State, Bias | None, Any]:
    """Where a step starts, the bias of its passes, and the control of the next one."""
    steered = control(moment, state[0])
    if steered.latents is not state[0]:
        state = solver.move(state, steered.latents, row)
    return state, steered.bias, control if steered.control is None else steered.control


def advance_controlled(
    solver: Solver,
    velocity: BiasedVelocity,
    state: State,
    rows: Float[np.ndarray | Array, "n columns"],
    control: Any,
    first: Int[Array, ""] | int,
    moment: Callable[[jax.Array, jax.Array], Moment],
) -> tuple[State, Any]:
    """The state after `rows` of the solver's table, and the control that goes on from there.

    Args:
        solver: the method.
        velocity: of `(sample, time, bias)`, asked once a step.
        state: of the solver.
        rows: of its table; their first column is time.
        control: see `Control`.
        first: number of the first row.
        moment: of `(step, time)`.
    """

    def step(carry: tuple[State, Any, jax.Array], row: jax.Array) -> tuple[Any, None]:
        state, control, number = carry
        state, bias, control = steer(solver, control, moment(number, row[0]), state, row)
        state = solver.step(lambda z, t: velocity(z, t, bias), state, row)
        return (state, control, number + 1), None

    start = (state, control, jnp.asarray(first, jnp.int32))
    state, control, _ = jax.lax.scan(step, start, jnp.asarray(rows))[0]
    return state, control
