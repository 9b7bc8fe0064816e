"""The diffusion transformer: Wan2.1's backbone and AlcheMinT's timed references."""

from alchemint_jax.models.dit.bias import Bias
from alchemint_jax.models.dit.config import VARIANTS, DiTConfig
from alchemint_jax.models.dit.model import DiT
from alchemint_jax.models.dit.probe import Attended, Probe

__all__ = ["VARIANTS", "Attended", "Bias", "DiT", "DiTConfig", "Probe"]
