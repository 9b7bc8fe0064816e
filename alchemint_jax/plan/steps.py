"""The programs that are planned: a config's training step or one step of sampling, with shapes in
place of arrays.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from alchemint_jax import sharding, weights
from alchemint_jax.errors import ConfigError
from alchemint_jax.models.clip.config import CLIPVisionConfig
from alchemint_jax.models.dit import DiT
from alchemint_jax.models.layers import init_params
from alchemint_jax.models.vae import VARIANTS as VAES
from alchemint_jax.models.vae import VAEConfig
from alchemint_jax.plan import told
from alchemint_jax.plan.attention import AttentionCost, attention_cost
from alchemint_jax.plan.flops import Sequence, dit_flops, text_flops
from alchemint_jax.plan.video import Video, table_of, whole_video
from alchemint_jax.sampling.control import Control
from alchemint_jax.sampling.sample import solve_piece
from alchemint_jax.scene.clock import Clock
from alchemint_jax.scene.packing import MIN_CUT_ROWS
from alchemint_jax.scene.packing import event_rows as rows_of
from alchemint_jax.tokenizers import ByteTokenizer
from alchemint_jax.train.dit_data import cached_conditions
from alchemint_jax.train.dit_task import DiTTask
from alchemint_jax.train.optimizer import FROZEN, OptimizerConfig
from alchemint_jax.train.state import plan_state
from alchemint_jax.train.step import jit_train_step


@dataclasses.dataclass(frozen=True)
class Work:
    """What one step works on.

    Attributes:
        size: height and width in pixels.
        frames: pixel frames of a clip, 4k + 1.
        references: subjects of a clip.
        batch: clips of a step, on all devices together.
        events: dense captions of a clip, for models that have them.
        told: events of a clip that are in its caption, for models that do not.
    """

    size: tuple[int, int]
    frames: int
    references: int
    batch: int
    events: int = 0
    told: int = 0


@dataclasses.dataclass(frozen=True)
class Step:
    """A program to compile, and what is known of it beforehand.

    Attributes:
        traced: of `jax.jit(...).trace`, inside the mesh.
        kinds: arrays that the program is given, by what they are: trees of sharded shapes.
        gradients: the arrays that have a gradient; empty where nothing is trained.
        tokens: video tokens of all clips of a step.
        model_flops: operations that the step needs, nothing recomputed, of all devices.
        video: of which a step of sampling is a part.
        attention: what its kernels take in a step of sampling, where any do.
    """

    traced: Any
    kinds: dict[str, Any]
    gradients: Any
    tokens: int
    model_flops: float
    video: Video | None = None
    attention: AttentionCost | None = None


def with_cached_text(task: DiTTask) -> DiTTask:
    """The same task, but that states of texts come with the batch."""
    return task if task.cached_text else dataclasses.replace(task, cached_text=True)


class _Planned(DiTTask):
    """A task without the files of the model that it starts from."""

    def tokenizer(self) -> ByteTokenizer:
        """Not the one of training: the step reads only the empty text, which either one pads to
        the same number of tokens.
        """
        return ByteTokenizer(self.sampling.text_length)


def planned(task: DiTTask) -> DiTTask:
    """The same task, to be traced where its files are not.

    With cached texts no tokenizer is read, and the task, which may be a student's, is as it was.
    """
    if task.cached_text:
        return task
    return _Planned(**{f.name: getattr(task, f.name) for f in dataclasses.fields(task)})


def resized(task: DiTTask, size: tuple[int, int] | None) -> DiTTask:
    """The task on clips of another size in pixels; None, or its own, leaves it as it is.

    The pictures of subjects are then as large as the clips: a config that wants them smaller says
    so for the clips that it is for.
    """
    if size is None or size == tuple(task.sampling.size):
        return task
    sampling = dataclasses.replace(task.sampling, size=size, reference_size=None)
    return dataclasses.replace(task, sampling=sampling)


def autoencoder(task: DiTTask) -> VAEConfig:
    """Sizes of the autoencoder that the latents of a task are of.

    That at `task.vae`, where it is on this machine; else Wan2.1's, Wan2.2's or the bundled one, the
    first that has as many channels.

    Raises:
        ConfigError: none of them has.
    """
    if task.vae in weights.BUNDLED or (task.vae and Path(task.vae).is_dir()):
        return _vae_config(task.vae)
    for config in VAES.values():
        if task.model.out_channels == config.z_dim:
            return config
    bundled = _vae_config("sprites")
    if task.model.out_channels == bundled.z_dim:
        return bundled
    raise ConfigError(
        f"vae: there is none at {task.vae!r}, and none with {task.model.out_channels} channels is "
        "known; give --config.vae=DIR"
    )


def _vae_config(model: str) -> VAEConfig:
    module: Any = weights.open_component(weights.locate(model), "vae")[0]
    return module.config


def dit_batch(task: DiTTask, work: Work, mesh: Mesh) -> dict[str, jax.ShapeDtypeStruct]:
    """Shapes of a batch, split over the mesh; with states of texts, or with their tokens.

    Raises:
        ConfigError: what is asked for does not fit the model or the mesh.
    """
    cfg = task.model
    if work.references > cfg.slots:
        raise ConfigError(
            f"{work.references} references, but model.slots is {cfg.slots}; "
            f"give --config.model.slots={work.references}"
        )
    parts = mesh.shape["data"] * mesh.shape["fsdp"]
    if work.batch % parts:
        raise ConfigError(
            f"a batch of {work.batch} cannot be split over data x fsdp = {parts}; change --batch "
            "or --mesh"
        )
    t, h, w, high, wide = latent_grid(task, work)
    b, r = work.batch, work.references
    shapes: dict[str, tuple[tuple[int, ...], Any]] = {
        **{k: (x, jnp.float32) for k, x in task.clips((t, h, w, cfg.out_channels)).items()},
        "references": ((r, high, wide, cfg.out_channels), jnp.float32),
        "used": ((r,), jnp.bool),
        "intervals": ((r, 1, 2), jnp.float32),
        "tag_mask": ((r, task.sampling.tag_length), jnp.bool),
    }
    rows = event_rows(task, work)
    if rows:
        shapes |= {
            "event_intervals": ((rows, 2), jnp.float32),
            "event_used": ((rows,), jnp.bool),
        }
    if task.model.cuts:
        shapes |= {"cuts": ((MIN_CUT_ROWS,), jnp.float32), "cut_used": ((MIN_CUT_ROWS,), jnp.bool)}
    shapes |= _states(task, r, rows) if task.cached_text else _ids(task, r, rows)
    place = sharding.batch_sharding(mesh)
    return {
        name: jax.ShapeDtypeStruct((b, *shape), dtype, sharding=place)
        for name, (shape, dtype) in shapes.items()
    }


def given_pictures(task: DiTTask, work: Work, place: Any) -> dict[str, jax.ShapeDtypeStruct]:
    """Shapes of what a model that continues pictures is conditioned on; none for other models."""
    cfg, (t, h, w, *_) = task.model, latent_grid(task, work)
    shapes: dict[str, tuple[int, ...]] = {}
    if cfg.in_channels > cfg.out_channels:
        shapes["condition"] = (work.batch, t, h, w, cfg.in_channels - cfg.out_channels)
    if cfg.image_dim:
        states = cfg.image_positions or CLIPVisionConfig().n_tokens
        shapes["image"] = (work.batch, states, cfg.image_dim)
    return {n: jax.ShapeDtypeStruct(s, jnp.float32, sharding=place) for n, s in shapes.items()}


def _states(task: DiTTask, r: int, rows: int) -> dict[str, tuple[tuple[int, ...], Any]]:
    """Shapes of what a cache says of the texts of one clip."""
    width, said = task.model.text_dim, task.sampling
    found: dict[str, tuple[int, ...]] = {
        "text": (said.text_length, width),
        "null_text": (said.text_length, width),
        "tags": (r, said.tag_length, width),
    }
    if rows:
        found |= {
            "events": (rows, said.event_length, width),
            "null_event": (said.event_length, width),
        }
    return {name: (shape, jnp.float32) for name, shape in found.items()}


def _ids(task: DiTTask, r: int, rows: int) -> dict[str, tuple[tuple[int, ...], Any]]:
    """Shapes of the tokens of one clip's texts; `tag_mask` is there already."""
    said = task.sampling
    found: dict[str, tuple[tuple[int, ...], Any]] = {
        "text_ids": ((said.text_length,), jnp.int32),
        "text_mask": ((said.text_length,), jnp.bool),
        "tag_ids": ((r, said.tag_length), jnp.int32),
    }
    if rows:
        shape = (rows, said.event_length)
        found |= {"event_ids": (shape, jnp.int32), "event_mask": (shape, jnp.bool)}
    return found


def event_rows(task: DiTTask, work: Work) -> int:
    """Rows of events of a clip, gaps included; a model without events has none.

    Raises:
        ConfigError: the model has no events, but the work has.
    """
    if work.events and not task.model.events:
        raise ConfigError(
            f"{work.events} events, but model.events is False; give --config.model.events=True"
        )
    return rows_of(work.events) if task.model.events else 0


def default_events(task: DiTTask) -> int:
    """Events of a clip where nobody says how many: two, as those of the sprites world have."""
    return 2 if task.model.events else 0


def latent_grid(task: DiTTask, work: Work) -> tuple[int, int, int, int, int]:
    """Latent frames, height and width of a clip, and height and width of a reference.

    Raises:
        ConfigError: a side or the length is no multiple of stride and patch.
    """
    vae, patch = autoencoder(task), task.model.patch
    cell = vae.spatial_stride
    reference_size = tuple(task.sampling.reference_size or work.size)
    for what, size in (("size", work.size), ("sampling.reference_size", reference_size)):
        units = [cell * p for p in patch[1:]]
        if any(side < 1 or side % unit for side, unit in zip(size, units, strict=True)):
            raise ConfigError(
                f"{what} {size[0]}x{size[1]}: sides must be multiples of "
                f"{' and '.join(map(str, dict.fromkeys(units)))}"
            )
    stride = vae.temporal_stride
    clock = Clock(task.sampling.fps, max(work.frames, 1), stride)
    if work.frames < 1 or not clock.whole:
        raise ConfigError(f"{work.frames} frames: it must be {stride}k + 1, for example 81")
    high, wide = (side // cell for side in reference_size)
    h, w = (side // cell for side in work.size)
    return clock.latent_frames, h, w, high, wide


def sequence(task: DiTTask, work: Work) -> Sequence:
    """Numbers of tokens of one clip."""
    (t, h, w, high, wide), (pt, ph, pw) = latent_grid(task, work), task.model.patch
    return Sequence(
        video=(t // pt) * (h // ph) * (w // pw),
        references=work.references * (high // ph) * (wide // pw),
        tags=work.references * task.sampling.tag_length if task.model.tags else 0,
        text=task.sampling.text_length,
        image=task.model.image_positions or CLIPVisionConfig().n_tokens,
        events=(event_rows(task, work) + MIN_CUT_ROWS * task.model.cuts)
        * task.sampling.event_length,
    )


def train_step(task: Any, optimizer: OptimizerConfig, work: Work, mesh: Mesh) -> Step:
    """The training step of a task, with its frozen text encoder unless it has `cached_text`.

    Raises:
        ConfigError: see `dit_batch`; also for tasks that cannot be planned.
    """
    if not isinstance(task, DiTTask):
        raise ConfigError(
            "only configs of the transformer (tasks 'dit' and 'distill') can be planned"
        )
    if task.train_text:
        raise ConfigError(
            "train_text is True: only training with a frozen text encoder is planned; give "
            "--config.train_text=False --config.init_from=sprites, or --step sample"
        )
    task.check_trainable()
    task = planned(task)
    batch = dit_batch(task, work, mesh)
    if (work.batch // (mesh.shape["data"] * mesh.shape["fsdp"])) % optimizer.accumulate:
        raise ConfigError(
            f"a batch of {work.batch} cannot be split into {optimizer.accumulate} parts "
            f"(accumulate) on {mesh.size} devices; change --batch"
        )
    with sharding.use_mesh(mesh):
        plan = plan_state(task, optimizer, mesh)
        key = jax.eval_shape(lambda: jax.random.key(0))
        key = jax.ShapeDtypeStruct(key.shape, key.dtype, sharding=sharding.replicated(mesh))
        traced = jit_train_step(plan, optimizer).trace(plan.abstract, batch, key)
    state = plan.abstract
    tokens = sequence(task, work)
    flops = (
        work.batch
        * task.passes
        * dit_flops(task.model, tokens, task.lora).training(frozen=task.lora is not None)
    )
    if not task.cached_text:  # the empty texts are encoded once for the whole batch
        lengths = (task.sampling.text_length, task.sampling.event_length)
        flops += encoding_flops(task, work)
        flops += sum(text_flops(task.text, n) for n in lengths[: 1 + task.model.events])
    return Step(
        traced=traced,
        kinds={
            "weights": state["params"],
            "frozen weights": state.get(FROZEN, {}),
            "average": state["ema"],
            "moments": state["opt"],
            "batch": batch,
        },
        gradients=state["params"],
        tokens=work.batch * tokens.video,
        model_flops=flops,
    )


def sample_step(
    task: Any, work: Work, mesh: Mesh, control: Control | None = None, cache: str | None = None
) -> Step:
    """One step of the solver with the branches of guidance that the config's sampling asks for.

    It runs under a control, if there is one. A file of a step cache says which passes of the
    whole video are skipped.
    """
    if not isinstance(task, DiTTask):
        raise ConfigError("only configs of the transformer (task 'dit') can be planned")
    told.check(control, task.model.events)
    if work.told:
        length = task.sampling.text_length * told.copies(control)
        sampling = dataclasses.replace(task.sampling, text_length=length)
        task = dataclasses.replace(task, sampling=sampling)
    plan = task.sampling.plan()
    guide = task.sampling.guidance.function()
    tokens = sequence(task, work)
    video = whole_video(task.model, tokens, plan, table_of(cache, plan, work.size, work.frames))
    batch = dit_batch(with_cached_text(task), work, mesh)
    columns = plan.method().table(plan.levels()).shape[1]
    whole, split = sharding.replicated(mesh), sharding.batch_sharding(mesh)
    with sharding.use_mesh(mesh):
        boxed = jax.eval_shape(
            lambda key: init_params(DiT(task.model), key, **DiT(task.model).example_inputs()),
            jax.eval_shape(lambda: jax.random.key(0)),
        )
        params = jax.tree.map(
            lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s),
            DiT(task.model, jnp.dtype(task.compute)).held_params(),  # as a pipeline holds them
            sharding.state_shardings(boxed, mesh),
        )
        conditions = jax.tree.map(
            lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=split),
            jax.eval_shape(cached_conditions, batch),
        )
        conditions = conditions._replace(**given_pictures(task, work, split))
        counts: tuple[Any, Any] = (None, None)
        if control is not None:
            counts = (jax.ShapeDtypeStruct((), jnp.int32, sharding=whole),) * 2
            control = jax.tree.map(
                lambda x: jax.ShapeDtypeStruct(jnp.shape(x), x.dtype, sharding=whole), control
            )
            shape = (work.batch, work.references, task.sampling.text_length)
            words = jax.ShapeDtypeStruct(shape, jnp.bool, sharding=split)
            conditions = conditions._replace(words=words)
        if work.told:
            sizes = work.batch, task.sampling.text_length, split
            conditions = conditions._replace(told=told.shapes(control, work.told, *sizes))
            control = told.with_words(control, work.references, *sizes)
        grid = (*latent_grid(task, work)[:3], task.model.out_channels)
        latents = jax.ShapeDtypeStruct((work.batch, *grid), jnp.float32)
        state = jax.tree.map(
            lambda x: jax.ShapeDtypeStruct(
                x.shape, x.dtype, sharding=split if x.ndim == latents.ndim else whole
            ),
            jax.eval_shape(plan.method().start, latents),
        )
        traced = solve_piece.trace(
            params,
            conditions,
            state,
            jax.ShapeDtypeStruct((1, columns), jnp.float32, sharding=whole),
            jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=whole), guide),
            control,
            *counts,
            dit=DiT(task.model, dtype=jnp.dtype(task.compute)),
            solver=plan.solver,
        )
    passes = work.batch * len(guide.branches)
    return Step(
        traced=traced,
        kinds={"weights": params, "batch": (conditions, state)},
        gradients={},
        tokens=work.batch * tokens.video,
        model_flops=passes * dit_flops(task.model, tokens).forward,
        video=video,
        attention=attention_cost(traced.jaxpr.jaxpr, task.model, tokens, passes),
    )


def encoding_flops(task: DiTTask, work: Work) -> float:
    """Operations of the text encoder for a batch's captions, words and events.

    A cache saves them.
    """
    caption = text_flops(task.text, task.sampling.text_length)
    word = text_flops(task.text, task.sampling.tag_length)
    event = text_flops(task.text, task.sampling.event_length)
    return work.batch * (caption + work.references * word + event_rows(task, work) * event)
