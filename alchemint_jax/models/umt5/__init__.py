"""The UMT5 text encoder: Wan's "xxl" and the small byte-level one of the sprites model."""

from alchemint_jax.models.umt5.config import VARIANTS, UMT5Config
from alchemint_jax.models.umt5.model import UMT5Encoder, relative_buckets, zero_padded

__all__ = ["VARIANTS", "UMT5Config", "UMT5Encoder", "relative_buckets", "zero_padded"]
