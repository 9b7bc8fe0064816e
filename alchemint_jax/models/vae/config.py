"""Sizes of the video autoencoder."""

from __future__ import annotations

import dataclasses

from alchemint_jax.errors import ConfigError

_LARGEST = 1e6


@dataclasses.dataclass(frozen=True)
class VAEConfig:
    """The causal 3D autoencoder of Wan2.1 (there time 4x, space 8x), sized by its fields.

    Stage i of the encoder has `base_dim * dim_mult[i]` channels; the decoder mirrors it with one
    more residual block per stage. `latents_mean` and `latents_std` normalise each latent channel.
    """

    base_dim: int = 96
    dim_mult: tuple[int, ...] = (1, 2, 4, 4)
    num_res_blocks: int = 2
    z_dim: int = 16
    temporal_downsample: tuple[bool, ...] = (False, True, True)
    latents_mean: tuple[float, ...] = (0.0,) * 16
    latents_std: tuple[float, ...] = (1.0,) * 16

    def __post_init__(self) -> None:
        # Beyond these no latents are; they would overflow later, far from where they were said.
        for i, value in enumerate(self.latents_mean):
            if not abs(value) <= _LARGEST:
                raise ConfigError(f"latents_mean[{i}] is {value!r}; it must be at most {_LARGEST}")
        for i, value in enumerate(self.latents_std):
            if not 1 / _LARGEST <= value <= _LARGEST:
                raise ConfigError(
                    f"latents_std[{i}] is {value!r}; it must be from {1 / _LARGEST} to {_LARGEST}"
                )

    @property
    def temporal_stride(self) -> int:
        """Pixel frames per latent frame (after the first one)."""
        return 2 ** sum(self.temporal_downsample)

    @property
    def spatial_stride(self) -> int:
        """Pixels per latent cell, along each side."""
        return 2 ** (len(self.dim_mult) - 1)


VARIANTS = {
    "wan2.1": VAEConfig(
        latents_mean=(
            -0.7571, -0.7089, -0.9113, 0.1075, -0.1745, 0.9653, -0.1517, 1.5508,
            0.4134, -0.0715, 0.5517, -0.3632, -0.1922, -0.9497, 0.2503, -0.2921,
        ),
        latents_std=(
            2.8184, 1.4541, 2.3275, 2.6558, 1.2196, 1.7708, 2.6052, 2.0743,
            3.2687, 2.1526, 2.8652, 1.5579, 1.6382, 1.1253, 2.8251, 1.9160,
        ),
    ),
}  # fmt: skip
