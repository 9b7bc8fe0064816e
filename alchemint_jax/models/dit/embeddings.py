"""What the transformer's layers are told besides the video: the time, and who is on screen.

Axes: b batch, s times of a sample, r reference slots, p image tokens, j tokens of a word tag, d
width.
"""

from __future__ import annotations

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from alchemint_jax.models.dit.blocks import sinusoid
from alchemint_jax.models.dit.config import DiTConfig
from alchemint_jax.models.layers import Linear, logical, parameter
from alchemint_jax.sharding import constrain


class TimeEmbedding(nn.Module):
    """Wan's embedding of flow time, and its projection to the layers' modulations, in float32."""

    config: DiTConfig

    @nn.compact
    def __call__(
        self, time: Float[Array, "b s"]
    ) -> tuple[Float[Array, "b s d"], Float[Array, "b s 6 d"]]:
        """The embedding, and the six modulations (shift, scale, gate; twice) of a layer."""
        cfg, normal = self.config, nn.initializers.normal(0.02)
        e = Linear(cfg.dim, (None, "embed"), kernel_init=normal, name="first")(
            sinusoid(time, cfg.freq_dim)
        )
        e = Linear(cfg.dim, ("embed", None), kernel_init=normal, name="second")(nn.silu(e))
        e0 = Linear(6 * cfg.dim, ("embed", "heads"), name="projection")(nn.silu(e))
        e0 = e0.reshape(*e.shape[:2], 6, cfg.dim)
        return e, constrain(e0, "batch", "tokens", None, None)


class Subjects(nn.Module):
    """What a subject adds: an index embedding per slot, an MLP for its word, and its timing.

    Each is left out where the config says so.
    """

    config: DiTConfig

    @nn.compact
    def __call__(
        self, references: Float[Array, "b r p d"], tags: Float[Array, "b r j text_dim"]
    ) -> tuple[Float[Array, "b r p d"], Float[Array, "b r j d"], Float[Array, " half"] | None]:
        """Tokens of references and of their words, and `timing` of `sequence_gains`.

        Raises:
            ValueError: slots are too few.
        """
        cfg = self.config
        slots = references.shape[1]
        if slots > cfg.slots:
            raise ValueError(f"{slots} references, but the model has {cfg.slots} slots")
        if cfg.tags:
            words = Linear(cfg.dim, ("text", "embed"), name="tag_in")(tags.astype(references.dtype))
            words = constrain(words, "batch", "slots", "text_tokens", None)
            words = Linear(cfg.dim, ("embed", None), name="tag_out")(
                nn.gelu(words, approximate=True)
            )
        else:
            words = jnp.zeros((*tags.shape[:3], cfg.dim), references.dtype)
        timing = None
        if cfg.learned_timing:
            zeros = logical(nn.initializers.zeros, (None,))
            timing = parameter(self, "timing", zeros, (cfg.head_dim // 2,))
        if not cfg.index:
            return references, words, timing
        table = parameter(
            self,
            "index",
            logical(nn.initializers.normal(0.02), (None, "embed")),
            (cfg.slots, cfg.dim),
        )
        index = table[None, :slots, None].astype(references.dtype)
        return references + index, words + index, timing
