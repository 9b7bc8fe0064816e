"""Steps that do not all make the same passes: guided in a part of them, or by a step cache.

A pass of a branch of guidance is computed at a step, or made of the residuals that the branch had
when it was computed before (see `step_cache`), or left out. Which, is known before: a program holds
each kind of step once, and a table says which kind comes when. So nothing depends on the samples,
nor on those beside them in a batch, and the same program serves all tables with these kinds.

Axes: s steps, p branches of guidance, b batch, v video tokens, d width.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from alchemint_jax.models.dit import Bias, DiT
from alchemint_jax.models.dit.conditioning import Conditions, model_inputs, repeat
from alchemint_jax.programs import kept
from alchemint_jax.sampling.control import Control, steer
from alchemint_jax.sampling.guidance import Branch, Guidance
from alchemint_jax.sampling.moments import moments
from alchemint_jax.sampling.solvers import SOLVERS, State
from alchemint_jax.sampling.step_cache import StepCache


class Kind(NamedTuple):
    """What a step does with each branch, by its number; what is in neither is left out."""

    computed: tuple[int, ...]
    reused: tuple[int, ...] = ()


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["weights", "kind"],
    meta_fields=["branches", "kinds"],
)
@dataclasses.dataclass(frozen=True)
class Passes:
    """What every step does.

    Attributes:
        branches: of guidance.
        kinds: of steps.
        weights: of the branches at each step, float32 [s p].
        kind: number of the kind of each step, int32 [s].
    """

    branches: tuple[Branch, ...]
    kinds: tuple[Kind, ...]
    weights: Any
    kind: Any

    def part(self, start: int, stop: int) -> Passes:
        """Some of the steps."""
        cut = slice(start, stop)
        return dataclasses.replace(self, weights=self.weights[cut], kind=self.kind[cut])


def scheduled(guidance: Guidance, steps: int, cache: StepCache | None = None) -> Passes | None:
    """What each of so many steps does; None where all of them compute all branches.

    A branch that was not computed yet, or that guidance had left out before, is computed whatever
    the cache says.
    """
    weighed = guidance.branches()
    guided = guidance.guided(steps)
    alone = Branch(True, True)
    branches = tuple(dict.fromkeys([*weighed, *(() if guided.all() else (alone,))]))
    inside = [weighed.get(branch, 0.0) for branch in branches]
    outside = [float(branch == alone) for branch in branches]
    weights = np.where(guided[:, None], inside, outside).astype(np.float32)
    table = None if cache is None else cache.of(branches)
    kinds: list[Kind] = []
    rows, known = [], np.zeros(len(branches), bool)
    for i, needed in enumerate(weights != 0):
        computed = needed if table is None else needed & (table[i] | ~known)
        known = needed
        kind = Kind(tuple(np.flatnonzero(computed)), tuple(np.flatnonzero(needed & ~computed)))
        kind = Kind(*(tuple(map(int, part)) for part in kind))
        kinds += [kind] if kind not in kinds else []
        rows.append(kinds.index(kind))
    if kinds == [Kind(tuple(range(len(branches))))]:
        return None
    return Passes(branches, tuple(kinds), weights, np.asarray(rows, np.int32))


def counted(guidance: Guidance, steps: int, cache: StepCache | None = None) -> tuple[int, int]:
    """How many passes of so many steps are computed, and how many are made of residuals."""
    passes = scheduled(guidance, steps, cache)
    if passes is None:
        return steps * len(guidance.branches()), 0
    kinds = [passes.kinds[i] for i in passes.kind]
    return sum(len(kind.computed) for kind in kinds), sum(len(kind.reused) for kind in kinds)


class Residuals(NamedTuple):
    """What was known of each branch when it was computed last.

    Attributes:
        value: the residual [p b v d].
        slope: its change with the time of the flow, from the time before to the last [p b v d].
        time: the last one [p]; below 0 where there was none.
    """

    value: jax.Array
    slope: jax.Array
    time: jax.Array

    @classmethod
    def none(cls, dit: DiT, branches: int, latents: Float[Array, "b t h w c"]) -> Residuals:
        """Room for so many branches."""
        b, *grid = latents.shape[:4]
        tokens = int(np.prod([n // side for n, side in zip(grid, dit.config.patch, strict=True)]))
        zeros = jnp.zeros((branches, b, tokens, dit.config.dim), dit.dtype)
        return cls(zeros, zeros, jnp.full(branches, -1.0))

    def at(self, numbers: tuple[int, ...], time: jax.Array) -> Float[Array, "p b v d"]:
        """What the residuals of some branches are by now, on a line through the last two."""
        value, slope, before = (_rows(x, numbers) for x in self)
        late = (time - before)[:, None, None, None]
        return (value + late * slope.astype(jnp.float32)).astype(value.dtype)

    def with_new(
        self, numbers: tuple[int, ...], new: Float[Array, "p b v d"], time: jax.Array
    ) -> Residuals:
        """After these branches were computed."""
        before = _rows(self.time, numbers)
        late = jnp.where(before < 0, jnp.inf, time - before)[:, None, None, None]
        slope = ((new - _rows(self.value, numbers)) / late).astype(new.dtype)
        times = jnp.broadcast_to(time, before.shape)
        pairs = zip(self, (new, slope, times), strict=True)
        return Residuals(*(_replaced(old, numbers, own) for old, own in pairs))


def _rows(x: jax.Array, numbers: tuple[int, ...]) -> jax.Array:
    """Rows of an array by numbers that are known: slices, which are cheaper than a gather."""
    return x if numbers == tuple(range(len(x))) else jnp.stack([x[i] for i in numbers])


def _replaced(x: jax.Array, numbers: tuple[int, ...], new: jax.Array) -> jax.Array:
    """The array with these rows in the place of its own."""
    rows = dict(zip(numbers, new, strict=True))
    return new if len(rows) == len(x) else jnp.stack([rows.get(i, x[i]) for i in range(len(x))])


def sample_in_passes(
    dit: DiT,
    params: dict,
    conditions: Conditions,
    state: State,
    rows: Float[Array, "s columns"],
    passes: Passes,
    *,
    solver: str,
    piece: int,
    made: Callable[[int, State], None],
    control: Control | None = None,
) -> Float[Array, "b t h w c"]:
    """Latents at the end of the flow, as `sample.sample_latents` solves it.

    It is solved in pieces of so many steps, and `made(done, state)` is called after each.
    """
    steps, reused = len(rows), any(kind.reused for kind in passes.kinds)
    residuals = Residuals.none(dit, len(passes.branches), state[0]) if reused else None
    solve = _kept_passes if control is None else solve_passes
    for start in range(0, steps, piece):
        stop = start + piece
        state, residuals, control = solve(
            *(params, conditions, state, residuals, rows[start:stop], passes.part(start, stop)),
            *(control, start, steps),
            dit=dit,
            solver=solver,
        )
        made(stop, state)
    return state[0]


@partial(jax.jit, static_argnames=("dit", "solver"))
def solve_passes(
    params: dict,
    conditions: Conditions,
    state: State,
    residuals: Residuals | None,
    rows: Float[Array, "s columns"],
    passes: Passes,
    control: Control | None = None,
    first: jax.Array | int = 0,
    steps: jax.Array | int = 0,
    *,
    dit: DiT,
    solver: str,
) -> tuple[State, Residuals | None, Control | None]:
    """As `sample.solve_piece`, with what `passes` say of these rows of the solver's table.

    Beside its results are the residuals of all branches, where there is room for them.
    """
    chosen = SOLVERS[solver]
    # Outside of the loop over steps, which would do it every time.
    inputs = {
        kind.computed: _inputs(conditions, passes.branches, kind.computed)
        for kind in passes.kinds
        if kind.computed
    }
    ask = partial(_velocity, dit, params, inputs, _of_frames(conditions))
    clean = conditions.given
    moment = moments(dit, params, conditions, steps)

    def step(carry: tuple[Any, ...], given: tuple[jax.Array, ...]) -> tuple[Any, None]:
        state, residuals, control, number = carry
        row, weights, kind = given
        bias, after = None, residuals
        if control is not None:
            state, bias, control = steer(chosen, control, moment(number, row[0]), state, row)

        def velocity(z: jax.Array, t: jax.Array) -> jax.Array:
            nonlocal after  # a solver asks once a step
            z = z if clean is None else clean.over(z)
            cases = [partial(ask, bias, one, z, t, weights, residuals) for one in passes.kinds]
            v, after = cases[0]() if len(cases) == 1 else jax.lax.switch(kind, cases)
            return v if clean is None else clean.still(v)

        state = chosen.step(velocity, state, row)
        return (state, after, control, number + 1), None

    start = (state, residuals, control, jnp.asarray(first, jnp.int32))
    given = (rows, jnp.asarray(passes.weights), jnp.asarray(passes.kind))
    state, residuals, control, _ = jax.lax.scan(step, start, given)[0]
    return state, residuals, control


_kept_passes = kept(solve_passes)


class _Inputs(NamedTuple):
    """Of the transformer, for some branches one after another."""

    text: jax.Array
    extra: dict[str, Any]
    with_text: jax.Array


def _inputs(
    conditions: Conditions, branches: tuple[Branch, ...], numbers: tuple[int, ...]
) -> _Inputs:
    b, chosen = len(conditions.text), [branches[i] for i in numbers]
    with_text, with_images = (
        np.repeat(np.asarray([branch[i] for branch in chosen], bool), b) for i in (0, 1)
    )
    text, extra = model_inputs(
        repeat(conditions, len(numbers)), jnp.asarray(with_text), jnp.asarray(with_images)
    )
    return _Inputs(text, extra, jnp.asarray(with_text))


def _of_frames(conditions: Conditions) -> dict[str, jax.Array]:
    """What embedding and head are told of given frames, by the name of the argument."""
    found = {} if conditions.condition is None else {"condition": conditions.condition}
    return found if conditions.given is None else found | {"given": conditions.given.frames}


def _velocity(
    dit: DiT,
    params: dict,
    inputs: Mapping[tuple[int, ...], _Inputs],
    frames: Mapping[str, jax.Array],
    bias: Bias | None,
    kind: Kind,
    z: jax.Array,
    t: jax.Array,
    weights: jax.Array,
    residuals: Residuals | None,
) -> tuple[jax.Array, Residuals | None]:
    """The velocity at a step of this kind, and all residuals after it."""
    variables, total = {"params": params}, jnp.zeros_like(z)

    def stacked(numbers: tuple[int, ...]) -> tuple[jax.Array, jax.Array]:
        copies = repeat(z, len(numbers))
        return copies, jnp.broadcast_to(t, copies.shape[:1])

    def summed(numbers: tuple[int, ...], v: jax.Array) -> jax.Array:
        share = _rows(weights, numbers).reshape((-1,) + (1,) * z.ndim)
        return jnp.sum(share * v.reshape(len(numbers), *z.shape), axis=0)

    if kind.reused:
        assert residuals is not None
        copies, time = stacked(kind.reused)
        known = residuals.at(kind.reused, t)
        given: dict[str, Any] = {"residual": known.reshape(-1, *known.shape[2:])}
        given |= repeat(dict(frames), len(kind.reused))
        no_text = jnp.zeros((len(copies), 0, dit.config.text_dim))
        v = cast(jax.Array, dit.apply(variables, copies, time, no_text, **given))
        total = total + summed(kind.reused, v)
    if kind.computed:
        copies, time = stacked(kind.computed)
        text, extra, with_text = inputs[kind.computed]
        if bias is not None:
            repeated = bias.repeated(len(kind.computed)).without_captions(~with_text)
            extra = extra | {"bias": repeated}
        keeps = residuals is not None
        found: Any = dit.apply(variables, copies, time, text, keep_residual=keeps, **extra)
        if residuals is not None:
            found, new = found
            new = new.reshape(-1, *residuals.value.shape[1:])
            residuals = residuals.with_new(kind.computed, new, t)
        total = total + summed(kind.computed, found)
    return total, residuals
