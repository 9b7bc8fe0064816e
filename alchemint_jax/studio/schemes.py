"""A model with another interval scheme than the one that its weights were trained with.

Schemes have no parameters, so any of them runs with any weights. That says nothing about how well
subjects are timed: the weights have never seen its gains.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from alchemint_jax.rotary import SCHEMES
from alchemint_jax.sampling.pipeline import Pipeline


def with_scheme(pipe: Pipeline, name: str) -> Pipeline:
    """The same weights, to which intervals are told by the scheme of this name.

    The model's own stays as it is, with its fields; others have their default fields, and the
    model's pixel frames per latent frame.
    """
    dit = pipe.models.dit
    if name == type(dit.config.scheme).__name__:
        return pipe
    chosen: Any = SCHEMES[name]
    fields = {field.name for field in dataclasses.fields(chosen)}
    stride = {"stride": pipe.models.vae.config.temporal_stride} if "stride" in fields else {}
    config = dataclasses.replace(dit.config, scheme=chosen(**stride))
    models = pipe.models._replace(dit=dit.clone(config=config))
    return dataclasses.replace(pipe, models=models)
