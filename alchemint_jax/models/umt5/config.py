"""Sizes of the UMT5 encoder."""

from __future__ import annotations

from dataclasses import dataclass

from alchemint_jax.errors import ConfigError


@dataclass(frozen=True)
class UMT5Config:
    """Sizes of a UMT5 encoder; the defaults are the "sprites" variant.

    Attributes:
        vocab: number of token ids (259 of `tokenizers.ByteTokenizer`: 256 bytes, 3 special ids).
        dim: width of the states.
        n_heads: attention heads.
        head_dim: width of one head; `n_heads * head_dim` need not equal `dim`.
        ffn_dim: width of the gated feed-forward network.
        n_layers: blocks.
        n_buckets: relative-position buckets, half of them for each direction.
        max_distance: distance in tokens from which on all positions share the last bucket.
        eps: of the RMS norms.
    """

    vocab: int = 259
    dim: int = 128
    n_heads: int = 4
    head_dim: int = 32
    ffn_dim: int = 256
    n_layers: int = 2
    n_buckets: int = 32
    max_distance: int = 128
    eps: float = 1e-6

    def __post_init__(self):
        if self.n_buckets < 4 or self.n_buckets % 4:
            raise ConfigError(
                f"UMT5Config.n_buckets is {self.n_buckets}; it must be a multiple of 4 "
                "(two directions, each half exact and half logarithmic)"
            )
        if self.max_distance <= self.n_buckets // 4:
            raise ConfigError(
                f"UMT5Config.max_distance is {self.max_distance}; it must exceed the "
                f"{self.n_buckets // 4} distances that have a bucket of their own"
            )


VARIANTS = {
    "sprites": UMT5Config(),
    "xxl": UMT5Config(
        vocab=256_384, dim=4096, n_heads=64, head_dim=64, ffn_dim=10_240, n_layers=24
    ),
}
