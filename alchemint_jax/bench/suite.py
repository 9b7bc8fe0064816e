"""Which cases there are: those of `alchemint bench` by itself, and those of a config."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from alchemint_jax import shipped, weights
from alchemint_jax.bench.cases import Case, Kind
from alchemint_jax.data.loader import LoaderConfig
from alchemint_jax.errors import ConfigError
from alchemint_jax.models.dit import DiTConfig
from alchemint_jax.models.umt5 import UMT5Config
from alchemint_jax.models.vae import TILE, TinyDecoderConfig, VAEConfig
from alchemint_jax.models.vae import VARIANTS as VAES
from alchemint_jax.plan.steps import Work, autoencoder, default_events, resized
from alchemint_jax.sampling import settings
from alchemint_jax.sampling.control import Gating
from alchemint_jax.train.config import load_config
from alchemint_jax.train.dit_task import DiTTask
from alchemint_jax.train.optimizer import OptimizerConfig
from alchemint_jax.train.run import build_job, build_mesh

_OF_CONFIG: dict[str, Kind] = {
    "forward": "forward",
    "train": "train",
    "sample": "sample",
    "vae-encode": "encode",
    "vae-decode": "decode",
    "attention": "attention",
    "video": "video",
}
_ASKED: tuple[Kind, ...] = ("attention", "video")
"""Only where they are named: what they are of is in the others."""


def default_cases(names: Iterable[str] | None = None) -> list[Case]:
    """Small transformers and Wan2.1's autoencoder, in float32, and the sprites recipe and model.

    Args:
        names: the cases that are wanted; by default all there are.

    Raises:
        ConfigError: there is no such case.
    """
    makers: dict[str, Callable[[], Case]] = {}
    of_transformer: tuple[Kind, ...] = ("forward", "train")
    for kind in of_transformer:
        for batch in (1, 4):
            name = f"dit-{kind}-b{batch}"
            makers[name] = partial(_wan, name, kind, Work((256, 256), 13, 0, batch))
    of_autoencoder: tuple[Kind, ...] = ("encode", "decode")
    for kind in of_autoencoder:
        name = f"vae-{kind}"
        makers[name] = partial(_wan, name, kind, Work((128, 128), 33, 0, 1))
    # The sizes of taew2_1; beside it PyTorch has the whole autoencoder, whose latents these are.
    work, tiny = Work((128, 128), 33, 0, 1), TinyDecoderConfig()
    makers["vae-decode-tiny"] = partial(_wan, "vae-decode-tiny", "decode", work, tiny)
    makers["sprites-train"] = _recipe
    makers["sprites-sample"] = _bundled
    return [makers[name]() for name in select(list(makers), names)]


def _wan(
    name: str, kind: Kind, work: Work, vae: VAEConfig | TinyDecoderConfig = VAES["wan2.1"]
) -> Case:
    """A small transformer of Wan2.1's kind, with its text and its autoencoder in full size."""
    task = DiTTask(
        # As recipes for CPUs do, the layers are unrolled.
        model=DiTConfig(dim=512, n_heads=8, n_layers=4, ffn_dim=2048, unroll=4),
        text=UMT5Config(vocab=259, dim=8, n_heads=1, head_dim=8, ffn_dim=8, n_layers=1),
        data="",
        vae="",
        loader=LoaderConfig(batch_size=1),
        sampling=settings.Settings(text_length=512),
        init_from="sprites",  # never read, but a text encoder that stays as it is needs one
        train_text=False,
    )
    rates = OptimizerConfig(groups=(("backbone", 1e-4), ("added", 1e-4)), weight_decay=0.01)
    return Case(name, kind, task, vae, work, rates)


def _recipe() -> Case:
    """The training step of the sprites recipe, on one device."""
    (step,) = config_cases(shipped.root() / "configs" / "sprites.py", ["train"], whole_batch=True)
    return dataclasses.replace(step, name="sprites-train", mesh=None)


def _bundled() -> Case:
    """Sampling with the bundled model's sizes and settings."""
    chosen = settings.load(weights.locate("sprites"))
    task = DiTTask(
        model=_config("sprites", "transformer"),
        text=_config("sprites", "text_encoder"),
        data="",
        vae="sprites",
        loader=LoaderConfig(batch_size=1),
        sampling=chosen,
    )
    work = Work(chosen.size, chosen.max_frames, task.model.slots, 1)
    return Case("sprites-sample", "sample", task, autoencoder(task), work)


def _config(model: str, component: str) -> Any:
    """The configuration of a component of a model, of which no tensor is read."""
    module: Any = weights.open_component(weights.locate(model), component)[0]
    return module.config


def config_cases(
    path: Path | str,
    names: Iterable[str] | None = None,
    overrides: Iterable[str] = (),
    size: tuple[int, int] | None = None,
    frames: int | None = None,
    references: int | None = None,
    events: int | None = None,
    batch: int | None = None,
    whole_batch: bool = False,
    gating: Gating | None = None,
    tile: int = TILE,
) -> list[Case]:
    """What can be measured of a config of the transformer.

    Args:
        path: the config, perhaps with `:ARGUMENT`.
        names: the cases that are wanted; by default all but a layer's attention and whole videos.
        overrides: of the config, `field.subfield=value`.
        size: height and width in pixels; the config's by default.
        frames: pixel frames of a clip; the config's by default.
        references: subjects of a clip; the model's slots by default.
        events: dense captions of a clip; two by default, where the model has events.
        batch: clips of a call; of a training step on all devices together. One by default, and in
            a training step one for each part that its mesh, and what it accumulates over, split a
            batch into.
        whole_batch: by default the batch of the config instead.
        gating: of the subjects; for cases that sample, or attend, alone.
        tile: pixels of the autoencoder's tiles.

    Raises:
        ConfigError: the config cannot be read or measured, or the work does not fit it.
    """
    config = load_config(path, list(overrides))
    task, train = build_job(config, path)
    if not isinstance(task, DiTTask):
        raise ConfigError(f"{path}: only configs of the transformer (task 'dit') can be measured")
    task = resized(task, size)
    count = task.model.slots if references is None else references
    if count > task.model.slots:
        task = dataclasses.replace(task, model=dataclasses.replace(task.model, slots=count))
    mesh = config.mesh.to_dict() if "mesh" in config else {}
    own = task.loader.batch_size if whole_batch else None
    vae, found = autoencoder(task), []
    usual = [name for name, kind in _OF_CONFIG.items() if kind not in _ASKED]
    for name in select(list(_OF_CONFIG), usual if names is None else names):
        kind = _OF_CONFIG[name]
        parts = _parts(config) * train.optimizer.accumulate if kind == "train" else 1
        work = Work(
            size=task.sampling.size,
            frames=frames or task.sampling.max_frames,
            references=count,
            batch=batch or own or parts,
            events=default_events(task) if events is None else events,
        )
        found.append(Case(name, kind, task, vae, work, train.optimizer, mesh, gating, tile))
    return found


def _parts(config: ConfigDict) -> int:
    """How many parts a batch is split into on all devices: those of data and fsdp."""
    shape = build_mesh(config).shape
    return math.prod(shape[axis] for axis in ("data", "fsdp"))


def select(known: list[str], names: Iterable[str] | None) -> list[str]:
    """Those of the known cases that are named, in their order; all where None is.

    Raises:
        ConfigError: there is no such case.
    """
    wanted = known if names is None else list(names)
    for name in wanted:
        if name not in known:
            raise ConfigError(f"--case {name}: no such case here; there are {', '.join(known)}")
    return [name for name in known if name in wanted]
