"""Models whose layers are one loop: one layer compiles faster than six, and is the same."""

from __future__ import annotations

import dataclasses

from alchemint_jax import Pipeline
from alchemint_jax.models.dit import DiT


def rolled(pipe: Pipeline) -> Pipeline:
    dit = pipe.models.dit
    dit = DiT(dataclasses.replace(dit.config, unroll=1), dit.dtype)
    return dataclasses.replace(pipe, models=pipe.models._replace(dit=dit))
