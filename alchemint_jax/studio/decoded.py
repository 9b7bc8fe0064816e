"""What latents look like by the small decoder beside a model's weights."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, UInt8

from alchemint_jax.sampling.loading import load_tiny
from alchemint_jax.sampling.parts import check_parts
from alchemint_jax.sampling.pipeline import Pipeline
from alchemint_jax.sampling.sample import Models, decode

_LARGEST = 128  # pixels, the longest side of videos whose previews are as large as they are


@dataclass(frozen=True, eq=False)
class Decoded:
    """Previews as large as the video.

    Attributes:
        models: those of the model, with its small decoder.
    """

    models: Models

    @classmethod
    def of(cls, pipe: Pipeline) -> Decoded | None:
        """The small decoder of a model; None without one, and where videos are large.

        Raises:
            WeightsError: it is damaged, or made for other latents.
        """
        if pipe.origin is None or max(pipe.settings.size) > _LARGEST:
            return None
        found = load_tiny(pipe.origin.directory)
        if found is None:
            return None
        models = pipe.models._replace(preview=found)
        check_parts(dataclasses.replace(pipe, models=models), str(pipe.origin.directory))
        return cls(models)

    def frames(self, latents: Float[np.ndarray, "t h w c"]) -> UInt8[np.ndarray, "f h2 w2 3"]:
        """The frames of a clip."""
        return decode(self.models, jnp.asarray(latents[None]))[0]
