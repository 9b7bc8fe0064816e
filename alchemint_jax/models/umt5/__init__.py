"""The UMT5 text encoder: Wan's "xxl" and the small byte-level one of the sprites model."""

from alchemint_jax.models.umt5.config import VARIANTS, UMT5Config
from alchemint_jax.models.umt5.model import UMT5Encoder, relative_buckets, zero_padded
from alchemint_jax.models.umt5.quantized import Int8UMT5Encoder, quantize, quantize_leaf

__all__ = [
    "VARIANTS",
    "Int8UMT5Encoder",
    "UMT5Config",
    "UMT5Encoder",
    "quantize",
    "quantize_leaf",
    "relative_buckets",
    "zero_padded",
]
