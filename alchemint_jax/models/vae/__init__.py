"""The causal 3D video autoencoder (Wan2.1's architecture)."""

from alchemint_jax.models.vae.config import VARIANTS, VAEConfig
from alchemint_jax.models.vae.host import host_encode
from alchemint_jax.models.vae.model import VAE
from alchemint_jax.models.vae.streaming import stream_decode, stream_encode
from alchemint_jax.models.vae.tiling import OVERLAP, TILE, tiled_decode, tiled_encode

__all__ = [
    "OVERLAP",
    "TILE",
    "VAE",
    "VARIANTS",
    "VAEConfig",
    "host_encode",
    "stream_decode",
    "stream_encode",
    "tiled_decode",
    "tiled_encode",
]
