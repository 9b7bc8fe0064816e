"""The causal 3D video autoencoder of Wan2.1 and Wan2.2 as thin Linen modules.

Axes: b batch, f pixel frames, t latent frames, h w space, c channels.

One code path serves whole clips and streams. A clip is processed in chunks, cut anywhere, and a
`Past` remembers for every temporal convolution, in the order of the calls, the input frames that
its next chunk still needs. A whole clip is simply one chunk. Frame 0 is special in both directions:
it is never merged with, nor split into, others.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from alchemint_jax.models import layers
from alchemint_jax.models.layers import parameter
from alchemint_jax.models.vae.config import VAEConfig
from alchemint_jax.models.vae.shortcuts import (
    folded,
    folded_pairs,
    patchify,
    unfolded,
    unpatchify,
)
from alchemint_jax.ops.attention import platform
from alchemint_jax.ops.conv import (
    causal_conv3d,
    conv2d,
    conv3d_valid,
    merge_frames,
    split_frames,
    upsampled_conv2d,
)

Layer = Callable[..., tuple[jax.Array, jax.Array]]

# Residual branches start at zero: a fresh network passes the picture straight through.
_ZERO = nn.initializers.zeros
_INIT = nn.initializers.variance_scaling(1.0, "fan_in", "truncated_normal")


@cache
def _tap_weights(*weights: float) -> nn.initializers.Initializer:
    """Temporal kernels [k, 1, 1, c, m c] that mix frames but not channels.

    Tap i copies its frame, times `weights[i]`, to each of the m groups of outputs.
    """

    def init(key: jax.Array, shape: tuple[int, ...], dtype: DTypeLike = jnp.float32) -> jax.Array:
        del key
        copies = jnp.tile(jnp.eye(shape[-2], dtype=dtype), (1, shape[-1] // shape[-2]))
        taps = jnp.asarray(weights, dtype).reshape(-1, 1, 1, 1, 1)
        return taps * copies[None, None, None]

    return init


# What time does in a fresh network: two frames become their mean, and one becomes two.
_MEAN = _tap_weights(0.0, 0.5, 0.5)
_TWICE = _tap_weights(0.0, 0.0, 1.0)


def _quiet_posterior(
    key: jax.Array, shape: tuple[int, ...], dtype: DTypeLike = jnp.float32
) -> jax.Array:
    """Bias of the moments: means at 0, log-variances at -6.

    So noise does not drown the signal of a young encoder.
    """
    return jnp.where(jnp.arange(shape[0]) < shape[0] // 2, 0.0, -6.0).astype(dtype)


class Past:
    """What the layers of time remember between chunks; `frames=None` starts a clip.

    A trace-time helper: modules read it and append to it in call order; only `kept` crosses a jit
    boundary.
    """

    def __init__(self, frames: list[jax.Array] | None = None):
        self._given = None if frames is None else iter(frames)
        self.kept: list[jax.Array] = []

    @property
    def starts(self) -> bool:
        """Whether this chunk is the first one of a clip."""
        return self._given is None

    def through(self, layer: Layer, x: jax.Array) -> jax.Array:
        """What a layer of `ops.conv` that streams makes of this chunk."""
        y, kept = layer(x, before=None if self._given is None else next(self._given))
        self.kept.append(kept)
        return y


class CausalConv(nn.Module):
    """3D convolution that sees the present and the past; zeros stand before frame 0."""

    features: int
    kernel: tuple[int, int, int] = (3, 3, 3)
    kernel_init: nn.initializers.Initializer = _INIT
    bias_init: nn.initializers.Initializer = nn.initializers.normal(0.1)

    @nn.compact
    def __call__(self, x: Float[Array, "b f h w c"], past: Past) -> Float[Array, "b f h w o"]:
        """As many frames as it is given, of the same size."""
        shape = (*self.kernel, x.shape[-1], self.features)
        kernel = parameter(self, "kernel", self.kernel_init, shape)
        bias = parameter(self, "bias", self.bias_init, (self.features,))
        if self.kernel[0] == 1:
            return conv3d_valid(x, kernel, bias)
        return past.through(partial(causal_conv3d, kernel=kernel, bias=bias), x)


class FrameConv(nn.Module):
    """2D convolution of every frame; with `doubles`, of one whose pixels are repeated."""

    features: int
    size: int = 3
    stride: int = 1
    padding: tuple[tuple[int, int], tuple[int, int]] = ((1, 1), (1, 1))
    kernel_init: nn.initializers.Initializer = _INIT
    doubles: bool = False

    @nn.compact
    def __call__(self, x: Float[Array, "b f h w c"]) -> Float[Array, "b f h2 w2 o"]:
        """Every frame, convolved on its own."""
        shape = (self.size, self.size, x.shape[-1], self.features)
        kernel = parameter(self, "kernel", self.kernel_init, shape)
        bias = parameter(self, "bias", nn.initializers.zeros, (self.features,))
        if self.doubles:
            return upsampled_conv2d(x, kernel, bias)
        return conv2d(x, kernel, bias, self.stride, self.padding)


class ChannelNorm(nn.Module):
    """Scales every position to L2 norm sqrt(c), times a learned gain (Wan calls it RMS_norm)."""

    @nn.compact
    def __call__(self, x: Float[Array, "b f h w c"]) -> Float[Array, "b f h w c"]:
        """Normalises over the channels, in float32."""
        gain = parameter(self, "gamma", nn.initializers.ones, (x.shape[-1],))
        wide = x.astype(jnp.float32)
        # The clamp on the norm is torch.nn.functional.normalize's; rsqrt of the clamped square is
        # the same.
        few = x.dtype == jnp.float32 and x.shape[-1] <= 16 and platform() == "cpu"
        total = _sum_by_product(wide * wide) if few else jnp.sum(wide * wide, -1, keepdims=True)
        square = jnp.maximum(total, 1e-24)
        scaled = wide * jax.lax.rsqrt(square) * x.shape[-1] ** 0.5
        return (scaled * gain[None, None, None, None]).astype(x.dtype)


def _sum_by_product(x: Float[Array, "b f h w c"]) -> Float[Array, "b f h w 1"]:
    """Of few channels: on a CPU, XLA's own sum is slower."""
    c = x.shape[-1]
    return (x.reshape(-1, c) @ jnp.ones((c, 1), x.dtype)).reshape(*x.shape[:-1], 1)


class ResidualBlock(nn.Module):
    """norm, SiLU, conv, twice; a 1x1x1 shortcut where the width changes."""

    features: int

    @nn.compact
    def __call__(self, x: Float[Array, "b f h w c"], past: Past) -> Float[Array, "b f h w o"]:
        """The input, or its shortcut, plus what two convolutions make of it."""
        h = CausalConv(self.features, name="conv1")(nn.silu(ChannelNorm(name="norm1")(x)), past)
        h = nn.silu(ChannelNorm(name="norm2")(h))
        h = CausalConv(self.features, kernel_init=_ZERO, bias_init=_ZERO, name="conv2")(h, past)
        if x.shape[-1] != self.features:
            x = CausalConv(self.features, (1, 1, 1), name="shortcut")(x, past)
        return x + h


class FrameAttention(nn.Module):
    """Single-head attention over the positions of each frame."""

    @nn.compact
    def __call__(self, x: Float[Array, "b f h w c"]) -> Float[Array, "b f h w c"]:
        """The input plus what each position gathers from its frame."""
        b, f, h, w, c = x.shape
        no_padding = ((0, 0), (0, 0))
        qkv = FrameConv(3 * c, 1, padding=no_padding, name="qkv")(ChannelNorm(name="norm")(x))
        q, k, v = jnp.split(qkv.reshape(b * f, h * w, 3 * c), 3, axis=-1)
        weights = nn.softmax((q @ k.swapaxes(1, 2)).astype(jnp.float32) * c**-0.5)
        y = (weights.astype(x.dtype) @ v).reshape(b, f, h, w, c)
        return x + FrameConv(c, 1, padding=no_padding, kernel_init=_ZERO, name="proj")(y)


class Middle(nn.Module):
    """residual, attention, residual: the lowest resolution of encoder and decoder."""

    features: int

    @nn.compact
    def __call__(self, x: Float[Array, "b f h w c"], past: Past) -> Float[Array, "b f h w c"]:
        """The three, one after the other."""
        x = ResidualBlock(self.features, name="block1")(x, past)
        x = FrameAttention(name="attention")(x)
        return ResidualBlock(self.features, name="block2")(x, past)


class Downsample(nn.Module):
    """Halves space; where `temporal`, halves the frames after frame 0 as well."""

    temporal: bool

    @nn.compact
    def __call__(self, x: Float[Array, "b f h w c"], past: Past) -> Float[Array, "b f2 h2 w2 c"]:
        """The smaller video; a chunk may be too short for any frame of its own."""
        c = x.shape[-1]
        # Zeros on the right and below only: the padding of Wan's strided convolution.
        x = FrameConv(c, 3, 2, ((0, 1), (0, 1)), name="conv")(x)
        if not self.temporal:
            return x
        kernel = parameter(self, "time_kernel", _MEAN, (3, 1, 1, c, c))
        bias = parameter(self, "time_bias", nn.initializers.zeros, (c,))
        return past.through(partial(merge_frames, kernel=kernel, bias=bias), x)


class Upsample(nn.Module):
    """Doubles space; where `temporal`, doubles the frames after frame 0 too.

    It halves the channels, unless there are `features`.
    """

    temporal: bool
    features: int | None = None

    @nn.compact
    def __call__(self, x: Float[Array, "b f h w c"], past: Past) -> Float[Array, "b f2 h2 w2 c2"]:
        """The larger video."""
        c = x.shape[-1]
        if self.temporal:
            kernel = parameter(self, "time_kernel", _TWICE, (3, 1, 1, c, 2 * c))
            bias = parameter(self, "time_bias", nn.initializers.zeros, (2 * c,))
            x = past.through(partial(split_frames, kernel=kernel, bias=bias), x)
        return FrameConv(self.features or c // 2, doubles=True, name="conv")(x)


class Encoder(nn.Module):
    """Video to the moments of its latents, 2 z_dim channels."""

    config: VAEConfig

    @nn.compact
    def __call__(self, x: Float[Array, "b f h w 3"], past: Past) -> Float[Array, "b t h2 w2 c"]:
        """Means, then log-variances, along the channels."""
        cfg = self.config
        x = patchify(x, cfg.patch)
        # The norms forget scale: without an offset a flat grey frame would look like a flat white
        # one.
        x = CausalConv(cfg.base_dim, bias_init=nn.initializers.normal(0.5), name="conv_in")(x, past)
        for i, mult in enumerate(cfg.dim_mult):
            halves = i < len(cfg.dim_mult) - 1
            temporal = halves and cfg.temporal_downsample[i]
            shortcut = self._shortcut(x, cfg.base_dim * mult, halves, temporal, past)
            for j in range(cfg.num_res_blocks):
                x = ResidualBlock(cfg.base_dim * mult, name=f"stage{i}_block{j}")(x, past)
            if halves:
                x = Downsample(temporal, name=f"stage{i}_down")(x, past)
            x = x if shortcut is None else x + shortcut
        x = Middle(x.shape[-1], name="middle")(x, past)
        x = CausalConv(2 * cfg.z_dim, name="conv_out")(
            nn.silu(ChannelNorm(name="norm_out")(x)), past
        )
        quant = CausalConv(2 * cfg.z_dim, (1, 1, 1), bias_init=_quiet_posterior, name="quant")
        return quant(x, past)

    def _shortcut(
        self, x: jax.Array, features: int, halves: bool, temporal: bool, past: Past
    ) -> jax.Array | None:
        """Around a stage; of the last one, too, which only gets a new width."""
        if not self.config.residual:
            return None
        space = 2 if halves else 1
        if temporal:
            return past.through(partial(folded_pairs, features=features, space=space), x)
        return folded(x, features, space)


class Decoder(nn.Module):
    """Latents to video."""

    config: VAEConfig

    @nn.compact
    def __call__(self, z: Float[Array, "b t h w c"], past: Past) -> Float[Array, "b f h2 w2 3"]:
        """The video, not clipped, of latents that are not normalised."""
        cfg = self.config
        x = CausalConv(cfg.z_dim, (1, 1, 1), name="post_quant")(z, past)
        widths = [cfg.decoder_dim * mult for mult in reversed(cfg.dim_mult)]
        x = CausalConv(widths[0], name="conv_in")(x, past)
        x = Middle(widths[0], name="middle")(x, past)
        for i, width in enumerate(widths):
            doubles, start = i < len(widths) - 1, x
            for j in range(cfg.num_res_blocks + 1):
                x = ResidualBlock(width, name=f"stage{i}_block{j}")(x, past)
            if doubles:
                temporal = cfg.temporal_downsample[-1 - i]
                features = width if cfg.residual else None
                x = Upsample(temporal, features, name=f"stage{i}_up")(x, past)
                if cfg.residual:
                    x = x + unfolded(start, width, 1 + temporal, past.starts)
        out = CausalConv(3 * cfg.patch**2, name="conv_out")
        return unpatchify(out(nn.silu(ChannelNorm(name="norm_out")(x)), past), cfg.patch)


class VAE(nn.Module):
    """The autoencoder.

    Call `apply` with `method="encode"` or `"decode"`; the others serve training and streams.
    """

    config: VAEConfig

    def setup(self) -> None:
        """Makes encoder and decoder; Linen calls this."""
        self.encoder = Encoder(self.config)
        self.decoder = Decoder(self.config)

    def __call__(self, video: Float[Array, "b f h w 3"]) -> Float[Array, "b f h w 3"]:
        """Reconstruction through the posterior mean."""
        return self.decode(self.encode(video))

    def encode(self, video: Float[Array, "b f h w 3"]) -> Float[Array, "b t h2 w2 c"]:
        """Normalised posterior mean of a video in [-1, 1] with f = 4k + 1 frames."""
        return self.encode_chunk(video)[0]

    def decode(self, latents: Float[Array, "b t h w c"]) -> Float[Array, "b f h2 w2 3"]:
        """Video, clipped to [-1, 1], of normalised latents; NaN where it is not finite."""
        return self.decode_chunk(latents)[0]

    def encode_chunk(
        self, video: Float[Array, "b f h w 3"], frames: list[jax.Array] | None = None
    ) -> tuple[Float[Array, "b t h2 w2 c"], list[jax.Array]]:
        """Encodes the first chunk of a clip or, given what the last one kept, a further one.

        Returns the latent frames that this chunk completes, none if it is too short, and what the
        next chunk needs. Chunks of 1 + 4k frames, then 4k, complete a latent frame each time.
        """
        past = Past(frames)
        mean = jnp.split(self.encoder(video, past), 2, axis=-1)[0]
        return (mean - self._mean(mean)) / self._std(mean), past.kept

    def decode_chunk(
        self, latents: Float[Array, "b t h w c"], frames: list[jax.Array] | None = None
    ) -> tuple[Float[Array, "b f h2 w2 3"], list[jax.Array]]:
        """Decodes the first chunk of a clip or, given what the last one kept, a further one."""
        past = Past(frames)
        video = self.decoder(latents * self._std(latents) + self._mean(latents), past)
        # Clipped, infinity would look like a colour.
        return jnp.where(jnp.isfinite(video), jnp.clip(video, -1, 1), jnp.nan), past.kept

    def moments(
        self, video: Float[Array, "b f h w 3"]
    ) -> tuple[Float[Array, "b t h2 w2 c"], Float[Array, "b t h2 w2 c"]]:
        """Mean and log-variance of the posterior, not normalised."""
        mean, log_variance = jnp.split(self.encoder(video, Past()), 2, axis=-1)
        return mean, jnp.clip(log_variance, -30.0, 20.0)

    def reconstruct(self, raw: Float[Array, "b t h w c"]) -> Float[Array, "b f h2 w2 3"]:
        """Decodes latents that are not normalised, without clipping, as the training loss does."""
        return self.decoder(raw, Past())

    @nn.nowrap
    def abstract_params(self) -> dict:
        """Shapes and types of the parameters, without computing any."""
        side = self.config.spatial_stride
        video = jax.ShapeDtypeStruct(
            (1, 1 + self.config.temporal_stride, side, side, 3), jnp.float32
        )
        return layers.abstract_params(self, video)

    def _mean(self, like: jax.Array) -> jax.Array:
        return jnp.asarray(self.config.latents_mean, like.dtype)[None, None, None, None]

    def _std(self, like: jax.Array) -> jax.Array:
        return jnp.asarray(self.config.latents_std, like.dtype)[None, None, None, None]
