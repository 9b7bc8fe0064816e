"""From a config file to a training run: what `alchemint train` does."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jax.sharding import Mesh
from ml_collections import ConfigDict

from alchemint_jax import places, sharding, weights
from alchemint_jax.data.encoded import check_encoder, check_text_encoder, read_in_place
from alchemint_jax.errors import ConfigError, DataError, WeightsError
from alchemint_jax.outputs import check_outputs
from alchemint_jax.staging import staged
from alchemint_jax.train.checkpoint import run_place
from alchemint_jax.train.config import build_train, load_config
from alchemint_jax.train.loop import FitResult, TrainConfig, fit
from alchemint_jax.train.tasks import TASKS, top_fields
from alchemint_jax.weights.directories import in_bucket

_MODELS = ("init_from", "transformer", "vae", "teacher")  # fields of configs that name a model


def run_config(
    path: Path | str, workdir: places.AnyPlace, overrides: list[str] | tuple[str, ...] = ()
) -> FitResult:
    """Trains what the config file describes; `overrides` are `field.subfield=value` strings.

    `workdir` is a folder, or gs://bucket/path. The config's `mesh`, where it has one, are arguments
    of `sharding.make_mesh`.

    Raises ConfigError, DataError and WeightsError, naming the file, and AlchemintError, naming
    `workdir`, before anything is written.
    """
    where = run_place(workdir)
    check_workdir(where, load_config(path, overrides))  # by the addresses that were given
    config, task, train = find_job(path, overrides)
    check_workdir(where, config)
    try:
        return fit(task, train, where, mesh=build_mesh(config))
    except (ConfigError, DataError, WeightsError) as error:
        raise type(error)(f"{path}: {error}") from error


def find_job(
    path: Path | str, overrides: list[str] | tuple[str, ...] = ()
) -> tuple[ConfigDict, Any, TrainConfig]:
    """A config, its task and how it is trained, once the autoencoder it exports has been found.

    What the config names by an address is brought here, and the config then names the copy; but the
    records of an encoded dataset are read from gs:// as they are needed.

    Raises:
        ConfigError, DataError, WeightsError: naming the config file.
    """
    config = load_config(path, overrides)
    for field in ("data", *_MODELS):
        name = config.get(field) or ""
        if not (in_bucket(name) if field in _MODELS else places.is_address(name)):
            continue
        places.check(places.place(name))
        if field != "data" or not read_in_place(name):
            config[field] = os.fspath(staged(name))
    task, train = build_job(config, path)
    try:
        if "vae" in config:  # needed last, to export; hours may have passed by then
            folder = weights.locate(config.vae)
            weights.check_part(folder, "vae")
            weights.read_config(folder, "vae")
            if config.task != "distill":  # which has checks of its own: its data are no clips
                check_encoder(config.data, config.vae)
        if config.get("cached_text"):
            check_text_encoder(config.data, config.init_from)
    except (ConfigError, DataError, WeightsError) as error:
        raise type(error)(f"{path}: {error}") from error
    return config, task, train


def check_workdir(workdir: places.AnyPlace, config: ConfigDict) -> None:
    """Refuses a run that would write over the models and the data that it reads.

    Raises:
        AlchemintError: naming both.
    """
    read = [("data", config.data)] if "data" in config else []
    for field in _MODELS:
        if config.get(field) is not None:
            read += weights.parts(config[field], field)
    written = ["checkpoints", "metrics.jsonl", *(f"export/{c}" for c in weights.COMPONENTS)]
    check_outputs([("--workdir:", places.place(workdir) / name) for name in written], read)


def build_job(config: ConfigDict, path: Path | str) -> tuple[Any, TrainConfig]:
    """The task of a config, and how it is trained.

    Raises:
        ConfigError: naming the file, `path`.
    """
    try:
        try:
            return build_task(config), build_train(config)
        except (AttributeError, KeyError, TypeError) as error:  # of ConfigDict and dataclasses
            problem = str(error).strip("\"'")
            raise ConfigError(f"a field is missing, or of another kind: {problem}") from error
    except (ConfigError, DataError, WeightsError) as error:
        raise type(error)(f"{path}: {error}") from error


def build_mesh(config: ConfigDict, devices: Sequence[Any] | None = None) -> Mesh:
    """The mesh of a config: `mesh`, where it has one, are arguments of `sharding.make_mesh`.

    Raises:
        ConfigError: it does not fit the devices, by default all there are.
    """
    try:
        return sharding.make_mesh(**config.get("mesh", {}), devices=devices)
    except TypeError as error:
        raise ConfigError(f"mesh: {error}") from error


def build_task(config: ConfigDict) -> Any:
    """The task that a config names, from frozen dataclasses that reject unknown fields.

    Raises:
        ConfigError: there is no such task, or a field that it does not have.
    """
    if unknown := sorted(set(config) - set(known := top_fields(config))):
        raise ConfigError(f"unknown {', '.join(unknown)}; known fields: {', '.join(known)}")
    return TASKS[config.task][1](config)
