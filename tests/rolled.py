"""Models whose layers are one loop: one layer compiles faster than six, and is the same."""

from __future__ import annotations

import dataclasses

import jax
import numpy as np

from alchemint_jax import Pipeline
from alchemint_jax.models.dit import DiT


def rolled(pipe: Pipeline, layers: int | None = None) -> Pipeline:
    """The same model, or its first layers alone, for tests that do not look at what it draws."""
    models = pipe.models
    dit, params = models.dit, models.dit_params
    config = dataclasses.replace(dit.config, unroll=1)
    if layers is not None and layers < config.n_layers:
        config = dataclasses.replace(config, n_layers=layers)
        blocks = jax.tree.map(lambda x: jax.device_put(np.asarray(x)[:layers]), params["blocks"])
        params = {**params, "blocks": blocks}
    models = models._replace(dit=DiT(config, dit.dtype), dit_params=params)
    return dataclasses.replace(pipe, models=models)
