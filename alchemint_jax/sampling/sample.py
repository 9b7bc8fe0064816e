"""The sampling loop: noise to latents to frames, as pure functions of parameters and conditions."""

from __future__ import annotations

import dataclasses
import inspect
import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, UInt8

from alchemint_jax.models.dit import Bias, DiT
from alchemint_jax.models.dit.conditioning import Conditions, model_inputs, repeat
from alchemint_jax.models.vae import TILE, VAE, TinyDecoder, tiled_decode, tiled_encode
from alchemint_jax.programs import kept
from alchemint_jax.sampling.control import Control, advance_controlled
from alchemint_jax.sampling.finite import require_finite
from alchemint_jax.sampling.guidance import Guide, WeightedBranches
from alchemint_jax.sampling.moments import moments
from alchemint_jax.sampling.passes import sample_in_passes, scheduled
from alchemint_jax.sampling.settings import Plan
from alchemint_jax.sampling.solvers import SOLVERS, State, advance, piece_of
from alchemint_jax.sampling.step_cache import StepCache


class Models(NamedTuple):
    """The networks that sampling runs, with their parameters."""

    dit: DiT
    dit_params: dict
    vae: VAE
    vae_params: dict
    low: dict | None = None
    """Of two experts, parameters of the one that makes the last steps; None where there is one."""
    preview: tuple[TinyDecoder, dict] | None = None
    """A small decoder, with its parameters, which decodes instead of the autoencoder."""


@dataclasses.dataclass(frozen=True)
class Watch:
    """Someone who looks on while a clip is sampled, and may stop it by raising an error.

    Attributes:
        see: called with the number of steps done and the latents [b t h w c] there.
        every: steps between two calls, at the most: the largest number up to it that divides all
            steps. Each number is a program of its own.
    """

    see: Callable[[int, jax.Array], None]
    every: int = 4


def sample_latents(
    models: Models,
    conditions: Conditions,
    noise: Float[Array, "b t h w c"],
    plan: Plan,
    on_step: Callable[[int], None] | None = None,
    control: Control | None = None,
    guide: Guide | None = None,
    cache: StepCache | None = None,
    watch: Watch | None = None,
) -> Float[Array, "b t h w c"]:
    """Latents at the end of the flow that starts from `noise`, under a control if there is one.

    The guidance is `guide`, or the weights of the plan where that is None; `cache` says which
    passes of these are computed, and must be of this plan (see `step_cache.Tables.table`).

    `on_step(done)` is called now and then. The grid is solved in equal pieces, so that progress can
    be shown without a host callback in the compiled loop: a loop with one could not be kept in the
    compilation cache. Of a pair of experts each makes its own pieces, by the same program, which is
    given the parameters of one of them; what the solver remembers goes from one to the other. A
    `watch` also sees the latents there, the noise first; to raise an error is its way to stop.
    """
    solver, high = plan.method(), plan.high_steps()
    rows = jax.device_put(solver.table(plan.levels()))
    given = conditions.given
    state = solver.start(noise if given is None else given.over(noise))
    control = _as_pytree(control)
    piece = piece_of(math.gcd(high, plan.steps - high), 10 if watch is None else watch.every)
    if watch is not None:
        watch.see(0, state[0])

    def made(done: int, state: State) -> None:
        if on_step is not None:
            jax.block_until_ready(state)
            on_step(done)
        if watch is not None:
            watch.see(done, state[0])

    passes = scheduled(plan.guidance, plan.steps, cache) if guide is None else None
    if passes is not None:
        latents = sample_in_passes(
            *(models.dit, models.dit_params, conditions, state, rows, passes),
            solver=plan.solver,
            piece=piece,
            made=made,
            control=control,
        )
        return latents if given is None else given.over(latents)
    both = (plan.guidance, plan.guidance_low or plan.guidance)
    guides = [g.function() if guide is None else _as_pytree(guide) for g in both]
    known = control is None and isinstance(guides[0], WeightedBranches)
    solve = _kept_piece if known else solve_piece  # the code of others is no part of a name
    for start in range(0, plan.steps, piece):
        state, control = solve(
            models.dit_params if start < high or models.low is None else models.low,
            conditions,
            state,
            rows[start : start + piece],
            guides[start >= high],
            control,
            None if control is None else start,
            None if control is None else plan.steps,
            dit=models.dit,
            solver=plan.solver,
        )
        made(start + piece, state)
    return state[0] if given is None else given.over(state[0])


@partial(jax.jit, static_argnums=2)
def noise_of(
    key: jax.Array, numbers: Int[Array | np.ndarray, " b"], shape: tuple[int, ...]
) -> Float[Array, "b t h w c"]:
    """Noise of clips of these numbers: that of a clip depends on the key and its number alone."""
    keys = jax.vmap(partial(jax.random.fold_in, key))(numbers)
    return jax.vmap(lambda one: jax.random.normal(one, shape))(keys)


@partial(jax.jit, static_argnames=("dit", "solver"))
def solve_piece(
    params: dict,
    conditions: Conditions,
    state: State,
    rows: jax.Array,
    guide: Guide,
    control: Control | None = None,
    first: jax.Array | int | None = None,
    steps: jax.Array | int | None = None,
    *,
    dit: DiT,
    solver: str,
) -> tuple[State, Control | None]:
    """The solver's state after `rows` of its table: the compiled part of `sample_latents`.

    Beside it, the control that goes on from there. `first` is the number of the first row, and
    `steps` that of all rows of the table, which only a control needs; these are all by default.
    """
    b = len(conditions.text)
    # Outside of the loop over steps, which would do it every time.
    stacked = {n: repeat(conditions, n) for n in _copies(guide, state[0])}

    given = conditions.given

    def velocity(z: jax.Array, t: jax.Array, bias: Bias | None = None) -> jax.Array:
        def model(z: jax.Array, with_text: jax.Array, with_images: jax.Array) -> jax.Array:
            copies = len(z) // b
            text, extra = model_inputs(stacked[copies], with_text, with_images)
            if bias is not None:
                extra["bias"] = bias.repeated(copies).without_captions(~with_text)
            time = jnp.broadcast_to(t, z.shape[:1])
            return cast(jax.Array, dit.apply({"params": params}, z, time, text, **extra))

        return guide(model, z, t) if given is None else given.still(guide(model, given.over(z), t))

    if control is None:
        return advance(SOLVERS[solver], velocity, state, rows), None

    moment = moments(dit, params, conditions, len(rows) if steps is None else steps)
    assert first is not None
    return advance_controlled(SOLVERS[solver], velocity, state, rows, control, first, moment)


_kept_piece = kept(solve_piece)


def _copies(guide: Guide, z: jax.Array) -> list[int]:
    """How many copies of the batch, at once, a guidance asks the model about."""
    asked = {}

    def model(z2: jax.Array, with_text: jax.Array, with_images: jax.Array) -> jax.Array:
        asked[len(z2) // len(z)] = True
        return z2

    jax.eval_shape(partial(guide, model), z, jnp.float32(0))
    return list(asked)


def _as_pytree(function: Any) -> Any:
    """A plain function as one that may be an argument of a compiled one."""
    return jax.tree_util.Partial(function) if inspect.isfunction(function) else function


def decode(models: Models, latents: Float[Array, "b t h w c"]) -> UInt8[np.ndarray, "b f h2 w2 3"]:
    """Frames of normalised latents.

    Decoded clip by clip and, where frames are larger than a tile, tile by tile, in memory that
    does not grow with length, batch or size, but for the frames themselves.

    Raises:
        NonFiniteError: the latents, or the frames, are NaN or infinite somewhere.
    """
    require_finite(
        latents,
        "the transformer gave latents",
        "its weights do not belong together, or the weights of guidance or of a LoRA are too large",
    )
    vae, params = models.preview or (models.vae, models.vae_params)
    return decode_with(vae, params, latents)


def decode_with(
    vae: VAE | TinyDecoder, params: dict, latents: Float[Array | np.ndarray, "b t h w c"]
) -> UInt8[np.ndarray, "b f h2 w2 3"]:
    """As `decode`, by one decoder and of latents that are finite.

    Raises:
        NonFiniteError: the frames are NaN or infinite somewhere.
    """
    frames = []
    for z in latents:
        video, finite = _kept_frames(params, z[None], vae=vae)
        require_finite(finite, "the autoencoder gave frames")
        frames.append(np.asarray(video))
    return np.concatenate(frames)


@partial(jax.jit, static_argnames=("vae", "tile"))
def frames_of(
    params: dict, latents: Float[Array, "b t h w c"], *, vae: VAE | TinyDecoder, tile: int = TILE
) -> tuple[UInt8[Array, "b f h2 w2 3"], Bool[Array, ""]]:
    """Frames, and whether all of them were finite: uint8 has no NaN."""
    video = tiled_decode(vae, params, latents, tile)
    return (video * 127.5 + 128).astype(jnp.uint8), jnp.isfinite(video).all()


_kept_frames = kept(frames_of)


@kept
@partial(jax.jit, static_argnames=("vae",))
def encode_references(
    params: dict, references: UInt8[Array, "b r h w 3"], *, vae: VAE
) -> Float[Array, "b r h2 w2 c"]:
    """The image of each reference as the one latent frame of a one-frame video."""
    b, r, *shape = references.shape
    if r == 0:  # a model without slots
        side = vae.config.spatial_stride
        return jnp.zeros((b, 0, *(x // side for x in shape[:2]), vae.config.z_dim))
    video = references.reshape(b * r, 1, *shape).astype(jnp.float32) / 127.5 - 1
    latents = tiled_encode(vae, params, video)
    return latents.reshape(b, r, *latents.shape[2:])
