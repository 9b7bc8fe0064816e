"""What Wan2.1's image-to-video networks take beside noise and text (I2V-14B, FLF2V-14B).

Channels of a condition lie behind those of the noisy latents, and every layer attends to the CLIP
states of the given pictures. Axes: b batch, t latent frames, h w latent grid, p image tokens.
"""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from alchemint_jax.models.dit.config import DiTConfig
from alchemint_jax.models.layers import LayerNorm, Linear, logical, parameter

EPS = 1e-5
"""Of these norms alone: they are torch's LayerNorm as it comes, all others in Wan have 1e-6."""


class ImageEmbedding(nn.Module):
    """CLIP states to tokens of the transformer's width: norm, two layers with exact GELU, norm."""

    config: DiTConfig
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, states: Float[Array, "b p c"]) -> Float[Array, "b p d"]:
        """The tokens, in `dtype`; learned positions are added where the config has them.

        Raises:
            ValueError: another width, or another number of states than there are positions.
        """
        cfg = self.config
        if states.shape[-1] != cfg.image_dim:
            raise ValueError(f"image states are {states.shape[-1]} wide, not {cfg.image_dim}")
        x = states.astype(jnp.float32)  # CLIP states have outliers that bfloat16 blurs
        if cfg.image_positions:
            if x.shape[1] != cfg.image_positions:
                raise ValueError(
                    f"{x.shape[1]} image states, but the model has {cfg.image_positions} positions "
                    "(the pictures one after another along the axis of the states)"
                )
            positions = parameter(
                self, "positions", logical(nn.initializers.normal(0.02), (None, None)), x.shape[1:]
            )
            x = x + positions[None]
        x = LayerNorm(EPS, name="norm_in")(x).astype(self.dtype)
        x = Linear(cfg.image_dim, (None, "mlp"), name="first")(x)
        x = Linear(cfg.dim, ("mlp", "embed"), name="second")(nn.gelu(x, approximate=False))
        return LayerNorm(EPS, name="norm_out")(x)


def widened(
    latents: Float[Array, "b t h w c"],
    condition: Float[Array, "b t h w c2"] | None,
    channels: int,
) -> Float[Array, "b t h w c3"]:
    """Latents, and behind them the channels of their condition.

    Raises:
        ValueError: together they are not `channels`.
    """
    parts = [latents] if condition is None else [latents, condition]
    if sum(x.shape[-1] for x in parts) != channels:
        raise ValueError(
            f"the model takes {channels} channels, but latents have {latents.shape[-1]} and the "
            f"condition {0 if condition is None else condition.shape[-1]}"
        )
    return latents if condition is None else jnp.concatenate(parts, axis=-1)


def zero_filled(x: jax.Array, channels: int) -> jax.Array:
    """`x` with zeros behind its channels, `channels` in all."""
    missing = channels - x.shape[-1]
    return x if missing == 0 else jnp.pad(x, ((0, 0),) * (x.ndim - 1) + ((0, missing),))
