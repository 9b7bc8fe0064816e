"""From a storyboard to a video: solvers, guidance, and the pipeline that joins the models."""

from alchemint_jax.sampling.guidance import Guidance, guided_velocity
from alchemint_jax.sampling.pipeline import Pipeline
from alchemint_jax.sampling.solvers import SOLVERS, solve

__all__ = ["SOLVERS", "Guidance", "Pipeline", "guided_velocity", "solve"]
