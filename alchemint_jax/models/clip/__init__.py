"""The CLIP vision tower whose states Wan2.1's image-to-video networks attend to."""

from alchemint_jax.models.clip.config import VARIANTS, CLIPVisionConfig
from alchemint_jax.models.clip.model import CLIPStates, CLIPVision
from alchemint_jax.models.clip.preprocess import preprocess

__all__ = ["VARIANTS", "CLIPStates", "CLIPVision", "CLIPVisionConfig", "preprocess"]
