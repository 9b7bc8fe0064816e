"""Configs: Python files whose `get_config()` returns an ml_collections ConfigDict.

They are turned into frozen dataclasses.
"""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from alchemint_jax.errors import ConfigError
from alchemint_jax.train.evaluation import EvaluateConfig
from alchemint_jax.train.fields import build
from alchemint_jax.train.kinds import take_kind
from alchemint_jax.train.loop import TrainConfig
from alchemint_jax.train.optimizer import OptimizerConfig
from alchemint_jax.train.overrides import override


def load_config(path: Path | str, overrides: list[str] | tuple[str, ...] = ()) -> ConfigDict:
    """The `get_config()` of a Python file, with overrides (see `overrides`).

    Where they start from a published model of subjects, its rule is in the config (see `kinds`).

    `FILE.py:ARGUMENT` calls `get_config("ARGUMENT")`, as ml_collections' own flags do.

    Raises:
        ConfigError: naming file and field.
    """
    name, colon, argument = str(path).rpartition(":")
    if not (colon and name.endswith(".py")):
        name, colon = str(path), ""
    path = Path(name)
    names = run_file(path)
    try:
        get_config = names["get_config"]
        config = get_config(argument) if colon else get_config()
    except (Exception, SystemExit) as error:
        raise ConfigError(f"{path}: cannot be loaded: {type(error).__name__}: {error}") from error
    if not isinstance(config, ConfigDict):
        what = type(config).__name__
        raise ConfigError(f"{path}: get_config() must return a ConfigDict, not a {what}")
    for text in overrides:
        override(config, text, path)
    try:
        changed = take_kind(config)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error
    for text in overrides if changed else ():  # which come before what the kind says
        override(config, text, path)
    return config


def run_file(path: Path) -> dict[str, Any]:
    """What a config file defines, by name.

    Raises:
        ConfigError: naming the file.
    """
    if not path.is_file():
        raise ConfigError(f"{path}: no such config file; see configs/ for those there are")
    if path.suffix != ".py":
        raise ConfigError(f"{path}: a config is a Python file (.py)")
    try:
        # Run, not imported: an import may take the bytecode of an older version of the file.
        return runpy.run_path(str(path), run_name=path.stem)
    except (Exception, SystemExit) as error:
        raise ConfigError(f"{path}: cannot be loaded: {type(error).__name__}: {error}") from error


def build_train(config: ConfigDict) -> TrainConfig:
    """The `train` part of a config, with its optimizer and what it is scored on."""
    fields = config.train.to_dict()
    parts = {"optimizer": build(OptimizerConfig, fields["optimizer"], "train.optimizer")}
    if fields.get("evaluate") is not None:
        parts["evaluate"] = build(EvaluateConfig, fields["evaluate"], "train.evaluate")
    return build(TrainConfig, fields | parts, "train")
