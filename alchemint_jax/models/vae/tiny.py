"""TAEHV's decoder: convolutions of single frames, each of which also sees the frame before it.

Axes: b batch, f pixel frames, t latent frames, h w space, c channels.

It has the shape and the timing of the autoencoder that it was made for: latent frame 0 becomes
pixel frame 0, latent frame i >= 1 the `temporal_stride` frames after those of i - 1. It streams as
that does, and what serves one (`vae.tiled_decode` and the like) serves the other.

Source: github.com/madebyollin/taehv.
"""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
from einops import rearrange
from jaxtyping import Array, Float

from alchemint_jax.models import layers
from alchemint_jax.models.layers import parameter
from alchemint_jax.models.vae.config import TinyDecoderConfig
from alchemint_jax.models.vae.model import Past
from alchemint_jax.ops.conv import conv2d, upsampled_conv2d

_INIT = nn.initializers.variance_scaling(2.0, "fan_in", "truncated_normal")
# A fresh network is nearly linear and shows grey: what it gives is neither black nor white, and no
# unit is dead.
_ZERO = nn.initializers.zeros
_FAINT = nn.initializers.variance_scaling(0.01, "fan_in", "truncated_normal")
_GREY = nn.initializers.constant(0.5)


class Conv(nn.Module):
    """2D convolution of every frame, of the same size or, with `doubles`, of twice that."""

    features: int
    size: int = 3
    bias: bool = True
    doubles: bool = False
    kernel_init: nn.initializers.Initializer = _INIT
    bias_init: nn.initializers.Initializer = _ZERO

    @nn.compact
    def __call__(self, x: Float[Array, "b f h w c"]) -> Float[Array, "b f h2 w2 o"]:
        """Every frame, convolved on its own."""
        shape = (self.size, self.size, x.shape[-1], self.features)
        kernel = parameter(self, "kernel", self.kernel_init, shape)
        bias = parameter(self, "bias", self.bias_init, (self.features,)) if self.bias else None
        if self.doubles:
            return upsampled_conv2d(x, kernel, bias)
        side = (self.size // 2, self.size // 2)
        return conv2d(x, kernel, bias, 1, (side, side))


class Memory(nn.Module):
    """Three convolutions of each frame and the one before it, and a shortcut of the frame."""

    @nn.compact
    def __call__(self, x: Float[Array, "b f h w c"], past: Past) -> Float[Array, "b f h w c"]:
        """As many frames as it is given; a frame of zeros stands before frame 0."""
        y = past.through(_beside_last, x)
        for name in ("conv1", "conv2"):
            y = nn.relu(Conv(x.shape[-1], name=name)(y))
        return nn.relu(Conv(x.shape[-1], kernel_init=_ZERO, name="conv3")(y) + x)


def _beside_last(
    x: Float[Array, "b f h w c"], before: Float[Array, "b 1 h w c"] | None = None
) -> tuple[Float[Array, "b f h w c2"], Float[Array, "b 1 h w c"]]:
    """Channels of each frame, and behind them those of the frame before it; the last frame."""
    window = jnp.concatenate([jnp.zeros_like(x[:, :1]) if before is None else before, x], axis=1)
    return jnp.concatenate([x, window[:, : x.shape[1]]], axis=-1), window[:, x.shape[1] :]


class TinyDecoder(nn.Module):
    """The decoder; call `apply` with `method="decode"`, or "decode_chunk" for streams."""

    config: TinyDecoderConfig

    def __call__(self, latents: Float[Array, "b t h w c"]) -> Float[Array, "b f h2 w2 3"]:
        """As `decode`."""
        return self.decode(latents)

    def decode(self, latents: Float[Array, "b t h w c"]) -> Float[Array, "b f h2 w2 3"]:
        """Video, clipped to [-1, 1], of normalised latents; NaN where it is not finite."""
        return self.decode_chunk(latents)[0]

    def decode_chunk(
        self, latents: Float[Array, "b t h w c"], frames: list[jax.Array] | None = None
    ) -> tuple[Float[Array, "b f h2 w2 3"], list[jax.Array]]:
        """Decodes the first chunk of a clip or, given what the last one kept, a further one."""
        past = Past(frames)
        video = self._frames(latents, past)
        # Clipped, infinity would look like a colour.
        return jnp.where(jnp.isfinite(video), jnp.clip(video, -1, 1), jnp.nan), past.kept

    def reconstruct(self, latents: Float[Array, "b t h w c"]) -> Float[Array, "b f h2 w2 3"]:
        """Decodes a clip without clipping, so that each pixel has a gradient in training."""
        return self._frames(latents, Past())

    @nn.compact
    def _frames(
        self, latents: Float[Array, "b t h w c"], past: Past
    ) -> Float[Array, "b f h2 w2 3"]:
        cfg = self.config
        x = nn.relu(Conv(cfg.widths[0], name="conv_in")(3 * jnp.tanh(latents / 3)))
        for i, made in enumerate(cfg.temporal_upsample):
            for j in range(cfg.memory_blocks):
                x = Memory(name=f"stage{i}_memory{j}")(x, past)
            # It looks at single cells, so it costs a quarter before they are repeated.
            x = Conv(made * x.shape[-1], 1, bias=False, name=f"stage{i}_grow")(x)
            x = rearrange(x, "b f h w (s c) -> b (f s) h w c", s=made)
            x = Conv(cfg.widths[i + 1], bias=False, doubles=True, name=f"stage{i}_out")(x)
        out = Conv(3 * cfg.patch**2, kernel_init=_FAINT, bias_init=_GREY, name="conv_out")
        x = out(nn.relu(x))
        x = rearrange(x, "b f h w (c q r) -> b f (h q) (w r) c", q=cfg.patch, r=cfg.patch)
        # Latent frame 0 holds one pixel frame, the last of those that are made of it.
        return 2 * x[:, cfg.temporal_stride - 1 :] - 1 if past.starts else 2 * x - 1

    @nn.nowrap
    def abstract_params(self) -> dict:
        """Shapes and types of the parameters, without computing any."""
        latents = jax.ShapeDtypeStruct((1, 1, 1, 1, self.config.z_dim), jnp.float32)
        return layers.abstract_params(self, latents)
