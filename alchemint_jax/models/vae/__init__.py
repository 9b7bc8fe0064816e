"""The causal 3D video autoencoders of Wan2.1 and Wan2.2, and a small decoder for previews."""

from alchemint_jax.models.vae.config import VARIANTS, TinyDecoderConfig, VAEConfig
from alchemint_jax.models.vae.host import host_encode
from alchemint_jax.models.vae.model import VAE
from alchemint_jax.models.vae.streaming import stream_decode, stream_encode
from alchemint_jax.models.vae.tiling import OVERLAP, TILE, tiled_decode, tiled_encode
from alchemint_jax.models.vae.tiny import TinyDecoder

__all__ = [
    "OVERLAP",
    "TILE",
    "VAE",
    "VARIANTS",
    "TinyDecoder",
    "TinyDecoderConfig",
    "VAEConfig",
    "host_encode",
    "stream_decode",
    "stream_encode",
    "tiled_decode",
    "tiled_encode",
]
