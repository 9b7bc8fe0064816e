"""Sizes of the video autoencoder, and of a small decoder for previews."""

from __future__ import annotations

import dataclasses
import math

from alchemint_jax.errors import ConfigError

_LARGEST = 1e6


@dataclasses.dataclass(frozen=True)
class VAEConfig:
    """The causal 3D autoencoder of Wan2.1 (there time 4x, space 8x) or Wan2.2 (space 16x).

    Stage i of the encoder has `base_dim * dim_mult[i]` channels; the decoder mirrors it with one
    more residual block per stage. `latents_mean` and `latents_std` normalise each latent channel.
    Wan2.2 joins `patch` x `patch` pixels before the first stage, has shortcuts around its stages
    where `residual` is true (see `vae.shortcuts`), and a wider decoder, of `decoder_base_dim`.
    """

    base_dim: int = 96
    dim_mult: tuple[int, ...] = (1, 2, 4, 4)
    num_res_blocks: int = 2
    z_dim: int = 16
    temporal_downsample: tuple[bool, ...] = (False, True, True)
    latents_mean: tuple[float, ...] = (0.0,) * 16
    latents_std: tuple[float, ...] = (1.0,) * 16
    decoder_base_dim: int | None = None  # as the encoder's
    patch: int = 1
    residual: bool = False

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
        return self.patch * 2 ** (len(self.dim_mult) - 1)

    @property
    def decoder_dim(self) -> int:
        """What the widths of the decoder are multiples of."""
        return self.decoder_base_dim or self.base_dim


@dataclasses.dataclass(frozen=True)
class TinyDecoderConfig:
    """TAEHV's decoder, sized by its fields; the defaults are those of taew2_1, for Wan2.1.

    Attributes:
        z_dim: channels of a latent cell.
        widths: channels of each stage, and those of the last convolutions.
        temporal_upsample: how many frames each stage makes of one.
        memory_blocks: how many each stage has.
        patch: pixels along each side that the last convolution gives at once.

    Raises:
        ConfigError: there are not as many stages as there are temporal factors, or one is none.
    """

    z_dim: int = 16
    widths: tuple[int, ...] = (256, 128, 64, 64)
    temporal_upsample: tuple[int, ...] = (1, 2, 2)
    memory_blocks: int = 3
    patch: int = 1

    def __post_init__(self) -> None:
        if len(self.widths) != len(self.temporal_upsample) + 1:
            raise ConfigError(
                f"widths has {len(self.widths)} values; it must have one more than "
                f"temporal_upsample, which has {len(self.temporal_upsample)}"
            )
        if min(self.temporal_upsample, default=1) < 1:
            raise ConfigError(
                f"temporal_upsample is {self.temporal_upsample}; a stage makes at least one frame "
                "of each"
            )

    @property
    def temporal_stride(self) -> int:
        """Pixel frames per latent frame (after the first one)."""
        return math.prod(self.temporal_upsample)

    @property
    def spatial_stride(self) -> int:
        """Pixels per latent cell, along each side."""
        return self.patch * 2 ** len(self.temporal_upsample)


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
    "wan2.2": VAEConfig(
        base_dim=160,
        decoder_base_dim=256,
        z_dim=48,
        patch=2,
        residual=True,
        latents_mean=(
            -0.2289, -0.0052, -0.1323, -0.2339, -0.2799, 0.0174, 0.1838, 0.1557,
            -0.1382, 0.0542, 0.2813, 0.0891, 0.1570, -0.0098, 0.0375, -0.1825,
            -0.2246, -0.1207, -0.0698, 0.5109, 0.2665, -0.2108, -0.2158, 0.2502,
            -0.2055, -0.0322, 0.1109, 0.1567, -0.0729, 0.0899, -0.2799, -0.1230,
            -0.0313, -0.1649, 0.0117, 0.0723, -0.2839, -0.2083, -0.0520, 0.3748,
            0.0152, 0.1957, 0.1433, -0.2944, 0.3573, -0.0548, -0.1681, -0.0667,
        ),
        latents_std=(
            0.4765, 1.0364, 0.4514, 1.1677, 0.5313, 0.4990, 0.4818, 0.5013,
            0.8158, 1.0344, 0.5894, 1.0901, 0.6885, 0.6165, 0.8454, 0.4978,
            0.5759, 0.3523, 0.7135, 0.6804, 0.5833, 1.4146, 0.8986, 0.5659,
            0.7069, 0.5338, 0.4889, 0.4917, 0.4069, 0.4999, 0.6866, 0.4093,
            0.5709, 0.6065, 0.6415, 0.4944, 0.5726, 1.2042, 0.5458, 1.6887,
            0.3971, 1.0600, 0.3943, 0.5537, 0.5444, 0.4089, 0.7468, 0.7744,
        ),
    ),
}  # fmt: skip
