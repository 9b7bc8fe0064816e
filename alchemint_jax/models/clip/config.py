"""Sizes of the CLIP vision tower."""

from __future__ import annotations

import dataclasses

from alchemint_jax.errors import ConfigError


@dataclasses.dataclass(frozen=True)
class CLIPVisionConfig:
    """A pre-norm vision transformer with exact GELU; the defaults are Wan2.1's tower, ViT-H/14.

    Attributes:
        image_size: side of the square images it takes, in pixels.
        patch_size: side of a token, in pixels.
        dim: width of the states.
        n_heads: attention heads.
        n_layers: layers.
        ffn_dim: width of the feed-forward network.
        eps: of the layer norms.
    """

    image_size: int = 224
    patch_size: int = 14
    dim: int = 1280
    n_heads: int = 16
    n_layers: int = 32
    ffn_dim: int = 5120
    eps: float = 1e-5

    def __post_init__(self):
        if self.image_size % self.patch_size or self.dim % self.n_heads:
            raise ConfigError(
                f"CLIPVisionConfig: image_size {self.image_size} must be a multiple of patch_size "
                f"{self.patch_size}, and dim {self.dim} one of n_heads {self.n_heads}"
            )

    @property
    def n_tokens(self) -> int:
        """States of one image: its class token and its patches."""
        return 1 + (self.image_size // self.patch_size) ** 2


VARIANTS = {"vit-h-14": CLIPVisionConfig()}
