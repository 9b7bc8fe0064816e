"""The recipes there are: what a config's `task` may name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ml_collections import ConfigDict

from alchemint_jax.errors import ConfigError
from alchemint_jax.train.distill_task import DistillTask, make_distill_task
from alchemint_jax.train.dit_fields import make_dit_task
from alchemint_jax.train.dit_task import DiTTask
from alchemint_jax.train.fields import hints
from alchemint_jax.train.loop import TrainConfig
from alchemint_jax.train.tiny_decoder_task import TinyDecoderTask, make_tiny_decoder_task
from alchemint_jax.train.vae_task import VAETask, make_vae_task

TASKS: dict[str, tuple[type, Callable[[ConfigDict], Any]]] = {
    "vae": (VAETask, make_vae_task),
    "tiny_decoder": (TinyDecoderTask, make_tiny_decoder_task),
    "dit": (DiTTask, make_dit_task),
    "distill": (DistillTask, make_distill_task),
}
"""By name: the dataclass, and what makes it of a config."""


def top_fields(config: ConfigDict) -> dict[str, Any]:
    """Annotations of a config's own fields, by name: its task's, and those that all have.

    Raises:
        ConfigError: there is no such task.
    """
    if config.get("task") not in TASKS:
        raise ConfigError(f"task is {config.get('task')!r}; use one of {', '.join(TASKS)}")
    return {"task": str, **hints(TASKS[config.task][0]), "train": TrainConfig, "mesh": dict}
