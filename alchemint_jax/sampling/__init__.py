"""From a storyboard to a video: solvers, guidance, and the pipeline that joins the models."""

from alchemint_jax.sampling.guidance import Guidance, guided_velocity
from alchemint_jax.sampling.pipeline import Pipeline
from alchemint_jax.sampling.solvers import euler

__all__ = ["Guidance", "Pipeline", "euler", "guided_velocity"]
