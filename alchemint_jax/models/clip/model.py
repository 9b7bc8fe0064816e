"""CLIP's vision transformer (Radford et al. 2021), as the ViT-H/14 of open_clip that Wan2.1 uses.

Axes: b batch, h w pixels, n tokens (the class token, then patches row by row), d width.
"""

from __future__ import annotations

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from einops import rearrange
from jax.typing import DTypeLike
from jaxtyping import Array, Float, PyTree

from alchemint_jax.models import layers
from alchemint_jax.models.clip.config import CLIPVisionConfig
from alchemint_jax.models.layers import LayerNorm, Linear, logical, parameter
from alchemint_jax.ops.attention import attention


class CLIPStates(NamedTuple):
    """What the tower makes of an image."""

    penultimate: jax.Array
    """States before the last layer [b n d]: Wan's `image`."""
    pooled: jax.Array
    """The class token after the last layer and the last norm [b d], for comparing images."""


class Block(nn.Module):
    """One pre-norm layer; carries its input along, so that a scan ends with the last two states."""

    config: CLIPVisionConfig

    @nn.compact
    def __call__(
        self, carry: tuple[Float[Array, "b n d"], Float[Array, "b n d"]]
    ) -> tuple[tuple[Float[Array, "b n d"], Float[Array, "b n d"]], None]:
        """(states, those before) to (states after this layer, states)."""
        cfg, x = self.config, carry[0]
        h = LayerNorm(cfg.eps, name="norm1")(x)
        q, k, v = (
            Linear(cfg.dim, ("embed", "heads"), name=name)(h).reshape(
                *h.shape[:2], cfg.n_heads, cfg.dim // cfg.n_heads
            )
            for name in "qkv"
        )
        h = x + Linear(cfg.dim, ("heads", "embed"), name="o")(attention(q, k, v).reshape(x.shape))
        y = LayerNorm(cfg.eps, name="norm2")(h)
        y = nn.gelu(Linear(cfg.ffn_dim, ("embed", "mlp"), name="ffn_up")(y), approximate=False)
        return (h + Linear(cfg.dim, ("mlp", "embed"), name="ffn_down")(y), x), None


class CLIPVision(nn.Module):
    """Images to states. Compute runs in `dtype` (Wan: float32); parameters stay float32."""

    config: CLIPVisionConfig
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, images: Float[Array, "b h w 3"]) -> CLIPStates:
        """Encode images as `preprocess` makes them.

        Raises:
            ValueError: they are not squares of the size of the configuration.
        """
        cfg = self.config
        if images.shape[1:3] != (cfg.image_size, cfg.image_size):
            raise ValueError(
                f"pictures are {images.shape[1]} x {images.shape[2]}; this tower takes squares "
                f"of {cfg.image_size} (see preprocess)"
            )
        normal = nn.initializers.normal(cfg.dim**-0.5)
        token = parameter(self, "class_embedding", logical(normal, ("embed",)), (cfg.dim,))
        positions = parameter(
            self, "positions", logical(normal, (None, "embed")), (cfg.n_tokens, cfg.dim)
        )
        cells = rearrange(
            images.astype(self.dtype),
            "b (h p) (w q) c -> b (h w) (p q c)",
            p=cfg.patch_size,
            q=cfg.patch_size,
        )
        x = Linear(cfg.dim, ("patch", "embed"), use_bias=False, name="patch_embedding")(cells)
        token = jnp.broadcast_to(token.astype(self.dtype), (x.shape[0], 1, cfg.dim))
        x = jnp.concatenate([token, x], axis=1) + positions[None].astype(self.dtype)
        x = LayerNorm(cfg.eps, name="norm_in")(x)
        blocks = nn.scan(
            Block,
            variable_axes={"params": 0},
            split_rngs={"params": True},
            length=cfg.n_layers,
            metadata_params={nn.PARTITION_NAME: "layers"},
            check_constancy_invariants=False,  # nothing is broadcast: a trace of a layer less
        )
        (last, penultimate), _ = blocks(cfg, name="blocks")((x, x))
        return CLIPStates(penultimate, LayerNorm(cfg.eps, name="norm_out")(last[:, 0]))

    @nn.nowrap
    def abstract_params(self) -> PyTree:
        """Shapes and types of the parameters, without computing any."""
        side = self.config.image_size
        return layers.abstract_params(self, jax.ShapeDtypeStruct((1, side, side, 3), jnp.float32))
