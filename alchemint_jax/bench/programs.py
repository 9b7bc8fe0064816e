"""Our side: what each case runs, the same programs as `alchemint train`, `generate` and `data`."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from functools import partial
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from alchemint_jax import sharding
from alchemint_jax.bench.cases import Case
from alchemint_jax.models.dit import DiT
from alchemint_jax.models.dit.conditioning import model_inputs
from alchemint_jax.models.dit.remat import AUTO
from alchemint_jax.models.vae import (
    VAE,
    TinyDecoder,
    VAEConfig,
    tiled_decode,
    tiled_encode,
)
from alchemint_jax.ops.attention import attention
from alchemint_jax.ops.bias import LowRankBias
from alchemint_jax.plan.steps import event_rows, with_cached_text
from alchemint_jax.sampling.sample import frames_of, solve_piece
from alchemint_jax.train import remat
from alchemint_jax.train.dit_data import cached_conditions
from alchemint_jax.train.dit_remat import ways
from alchemint_jax.train.state import plan_state
from alchemint_jax.train.step import jit_train_step


@dataclasses.dataclass(frozen=True)
class Program:
    """A program and what to call it with.

    Attributes:
        trace: gives the `jax.stages.Traced`, to be compiled; of shapes, where arrays are large.
        arguments: makes what to call it with, on the devices.
        devices: that a call runs on.
        carries: the first result of a call is the first argument of the next one, which is not
            there any more.
    """

    trace: Callable[[], Any]
    arguments: Callable[[], tuple[Any, ...]]
    devices: tuple[Any, ...]
    carries: bool = False

    def caller(self, compiled: Any) -> Callable[[], Any]:
        """Calls of the compiled program, without arguments, one after another.

        Args:
            compiled: of `trace`.
        """
        args = self.arguments()

        def run() -> Any:
            nonlocal args
            result = compiled(*args)
            if self.carries:
                args = (result[0], *args[1:])
            return result

        return run


def build(case: Case) -> Program:
    """Parameters, data and program of a case.

    Raises:
        ConfigError: the case does not fit the devices.
    """
    return _BUILDERS[case.kind](case)


def settled(case: Case) -> Case:
    """The case with a policy of its layers where `model.remat` is "auto": as training chooses it.

    Only training has a backward pass, and so a choice.
    """
    if case.of_vae or case.task.model.remat != AUTO:
        return case
    policy = "none"
    if case.kind == "train":
        task, mesh = _trained(case), _mesh(case)
        place = sharding.batch_sharding(mesh)
        shapes = {
            name: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=place)
            for name, x in arrays(case, cached=task.cached_text).items()
        }
        with sharding.use_mesh(mesh):
            found = ways(task, shapes, mesh, case.optimizer.accumulate)
            plan = plan_state(task, case.optimizer, mesh)
            policy = cast(Any, remat.settled(plan, case.optimizer, found)[0].task).model.remat
    model = dataclasses.replace(case.task.model, remat=policy)
    return dataclasses.replace(case, task=dataclasses.replace(case.task, model=model))


def _trained(case: Case) -> Any:
    return case.task if case.task.train_text else with_cached_text(case.task)


def _mesh(case: Case) -> Mesh:
    here = None if case.mesh is not None else jax.local_devices()[:1]
    return sharding.make_mesh(**(case.mesh or {}), devices=here)


def _forward(case: Case) -> Program:
    dit, params = _transformer(case)
    given = arrays(case)
    time = np.linspace(0.1, 0.9, case.work.batch, dtype=np.float32)

    def forward(params: Any, given: Any, time: Any) -> Any:
        everything = jnp.ones(time.shape, bool)
        text, extra = model_inputs(cached_conditions(given), everything, everything)
        return dit.apply({"params": params}, given["latents"], time, text, **extra)

    return _on_one_device(jax.jit(forward).trace, (params,), given, time)


def _attention(case: Case) -> Program:
    """Self-attention of one layer, without the products of tokens with weights around it."""
    model, dtype, b, n = case.task.model, jnp.dtype(case.dtype), case.work.batch, case.tokens.total
    channels = (b, n, model.n_heads, model.head_dim)
    drawn = [jax.ShapeDtypeStruct(channels, dtype)] * 3
    if case.gating is not None:  # a channel for each subject, as `Bias.of_sequence` has
        drawn += [jax.ShapeDtypeStruct((b, n, case.work.references), jnp.float32)] * 2

    def attend(q: Any, k: Any, v: Any, *told: Any) -> Any:
        *tables, seen = told
        bias = LowRankBias(*tables) if tables else None
        return attention(q, k, v, seen, model.attention, bias)

    seen = np.ones((b, n), bool) if case.work.references else None  # as the transformer does
    return _on_one_device(jax.jit(attend).trace, tuple(drawn), seen)


def _sample(case: Case) -> Program:
    dit, params = _transformer(case)
    solver = case.task.sampling.plan().solver
    trace = partial(solve_piece.trace, dit=dit, solver=solver)
    return _on_one_device(trace, (params,), *_solved(case, 1))


def _video(case: Case) -> Program:
    """All steps and decoding, as `Pipeline.render` has them after its texts, in one program."""
    (dit, params), (vae, vae_params) = _transformer(case), _autoencoder(case)
    plan = case.task.sampling.plan()

    def video(params: Any, vae_params: Any, *told: Any) -> Any:
        (latents, *_), _ = solve_piece(params, *told, dit=dit, solver=plan.solver)
        return frames_of(vae_params, latents, vae=vae, tile=case.tile)

    return _on_one_device(jax.jit(video).trace, (params, vae_params), *_solved(case, plan.steps))


def _solved(case: Case, steps: int) -> tuple[Any, ...]:
    """What `solve_piece` takes after the parameters, for the first steps of a clip."""
    plan, given = case.task.sampling.plan(), arrays(case)
    solver, guide = plan.method(), case.task.sampling.guidance.function()
    conditions = jax.jit(cached_conditions)(given)
    state = solver.start(jnp.asarray(given["latents"]))
    told = (conditions, state, solver.table(plan.levels())[:steps], guide)
    if case.gating is None:
        return told
    b, r, length = *given["used"].shape, case.task.sampling.text_length
    words = np.tile(np.eye(r, length, dtype=bool), (b, 1, 1))  # a token of the caption for each
    gated = conditions._replace(words=jax.device_put(words))
    return (gated, *told[1:], case.gating, 0, plan.steps)


def _train(case: Case) -> Program:
    task, mesh = _trained(case), _mesh(case)
    batch = sharding.put_batch(arrays(case, cached=not case.task.train_text), mesh)
    key = jax.device_put(jax.random.key(1), sharding.replicated(mesh))
    with sharding.use_mesh(mesh):
        plan = plan_state(task, case.optimizer, mesh)

    def trace() -> Any:
        with sharding.use_mesh(mesh):
            return jit_train_step(plan, case.optimizer).trace(plan.abstract, batch, key)

    def arguments() -> tuple[Any, ...]:
        with sharding.use_mesh(mesh):
            # Fresh, also where the task has weights to start from: large ones, elsewhere perhaps.
            make = jax.jit(lambda key: plan.fresh(key), out_shardings=plan.shardings)
            return make(jax.device_put(jax.random.key(0), sharding.replicated(mesh))), batch, key

    return Program(trace, arguments, tuple(mesh.devices.flat), carries=True)


def _encode(case: Case) -> Program:
    vae, params = _autoencoder(case)
    shape = (case.work.batch, case.work.frames, *case.work.size, 3)
    video = np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)

    def encode(params: Any, video: Any) -> Any:
        return tiled_encode(vae, params, video, case.tile)

    return _on_one_device(jax.jit(encode).trace, (params,), video)


def _decode(case: Case) -> Program:
    vae, params = _decoder(case)
    shape = (case.work.batch, *case.grid, vae.config.z_dim)
    latents = np.random.default_rng(0).standard_normal(shape, np.float32)

    def decode(params: Any, latents: Any) -> Any:
        return tiled_decode(vae, params, latents, case.tile)

    return _on_one_device(jax.jit(decode).trace, (params,), latents)


_BUILDERS = {
    "forward": _forward,
    "attention": _attention,
    "train": _train,
    "sample": _sample,
    "video": _video,
    "encode": _encode,
    "decode": _decode,
}


def _on_one_device(trace: Callable[..., Any], drawn: tuple[Any, ...], *given: Any) -> Program:
    """A program whose first arguments have these shapes, and numbers of no meaning."""
    device = jax.local_devices()[0]
    placed = cast(tuple, jax.device_put(given, device))
    return Program(partial(trace, *drawn, *placed), lambda: (*_made_up(drawn), *placed), (device,))


def _transformer(case: Case) -> tuple[DiT, Any]:
    """The transformer and its parameters' shapes, held as `alchemint generate` holds them."""
    dit = DiT(case.task.model, jnp.dtype(case.dtype))
    return dit, dit.held_params()


def _autoencoder(case: Case) -> tuple[VAE, Any]:
    assert isinstance(case.vae, VAEConfig)  # small decoders only decode
    vae = VAE(case.vae)
    return vae, vae.abstract_params()


def _decoder(case: Case) -> tuple[VAE | TinyDecoder, Any]:
    if isinstance(case.vae, VAEConfig):
        return _autoencoder(case)
    tiny = TinyDecoder(case.vae)
    return tiny, tiny.abstract_params()


def _made_up(shapes: Any) -> Any:
    """Random arrays, one after the other: nothing is to be compiled, or held twice, for them.

    None is zero, as many of fresh networks are: chips need more power for other numbers, and
    may run slower.
    """
    rng, device = np.random.default_rng(0), jax.local_devices()[0]

    def leaf(x: Any) -> jax.Array:
        size = math.prod(x.shape[:-1]) ** -0.5
        values = (2 * rng.random(x.shape, np.float32) - 1) * np.float32(size)
        return jax.device_put(values.astype(x.dtype), device)

    return jax.tree.map(leaf, shapes)


def arrays(case: Case, cached: bool = True) -> dict[str, np.ndarray]:
    """A made-up batch: every slot holds a subject that is there for the whole clip.

    Args:
        case: says the sizes.
        cached: with states of texts, else with their tokens.
    """
    task, b, r = case.task, case.work.batch, case.work.references
    long, short, width = task.sampling.text_length, task.sampling.tag_length, task.model.text_dim
    cells = tuple(side // case.vae.spatial_stride for side in case.reference_size)
    channels = task.model.out_channels
    clock = case.clock
    rng = np.random.default_rng(0)

    def normal(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape, np.float32)

    def ids(*shape: int) -> np.ndarray:
        return rng.integers(3, task.text.vocab, shape, np.int32)

    batch = {
        "latents": normal(b, *case.grid, channels),
        "references": normal(b, r, *cells, channels),
        "used": np.ones((b, r), bool),
        "intervals": np.tile(clock.latent([[0, clock.frames], [0, 0]]), (b, r, 1, 1)),
        "tag_mask": np.ones((b, r, short), bool),
    }
    rows, said = event_rows(task, case.work), task.sampling.event_length
    if rows:
        ends = np.linspace(0, clock.frames, rows + 1).astype(np.int32)
        times = clock.latent(np.stack([ends[:-1], ends[1:]], 1))
        batch |= {
            "event_intervals": np.tile(times, (b, 1, 1)),
            "event_used": np.tile(times[:, 0] <= times[:, 1], (b, 1)),
        }
    if cached and rows:
        batch |= {
            "events": normal(b, rows, said, width),
            "null_event": normal(b, said, width),
        }
    if cached:
        texts = {"text": normal(b, long, width), "null_text": normal(b, long, width)}
        return batch | texts | {"tags": normal(b, r, short, width)}
    if rows:
        batch |= {"event_ids": ids(b, rows, said), "event_mask": np.ones((b, rows, said), bool)}
    texts = {"text_ids": ids(b, long), "text_mask": np.ones((b, long), bool)}
    return batch | texts | {"tag_ids": ids(b, r, short)}
