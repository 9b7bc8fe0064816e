"""The diffusion transformer: Wan2.1's backbone and AlcheMinT's timed references."""

from alchemint_jax.models.dit.config import VARIANTS, DiTConfig
from alchemint_jax.models.dit.maps import reference_attention, self_attention
from alchemint_jax.models.dit.model import DiT

__all__ = ["VARIANTS", "DiT", "DiTConfig", "reference_attention", "self_attention"]
