"""What the video attends to: how much each latent frame looks at each reference, layer by layer.

Axes: l layers, b batch, k heads, n tokens, t latent frames, r reference slots.
"""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from einops import reduce
from jaxtyping import Array, Float

from alchemint_jax.models.dit.config import DiTConfig
from alchemint_jax.models.dit.model import DiT
from alchemint_jax.models.layers import rms_norm
from alchemint_jax.rotary import apply_gains, axis_frequencies, sequence_gains


def self_attention(
    config: DiTConfig, params: Any, inputs: dict[str, Any]
) -> Float[Array, "l b k n n"]:
    """Weights of every self-attention over `[video | references | tags]`; rows sum to 1.

    `inputs` are the arguments of `DiT.__call__` by name, references among them. All layers are held
    at once: this is for looking at small models.
    """
    _, state = DiT(config).apply(
        {"params": params},
        **inputs,
        capture_intermediates=lambda module, _: module.name in ("q", "k"),
        mutable=["intermediates"],
    )
    captured = state["intermediates"]["blocks"]["self_attn"]
    scales = params["blocks"]["self_attn"]
    q_gains, k_gains = _gains(config, inputs)

    def layer(q: jax.Array, k: jax.Array, q_scale: jax.Array, k_scale: jax.Array) -> jax.Array:
        def heads(x: jax.Array, scale: jax.Array, gains: jax.Array) -> jax.Array:
            x = rms_norm(x, scale).reshape(*x.shape[:2], config.n_heads, config.head_dim)
            return apply_gains(x, gains).swapaxes(1, 2)

        q, k = heads(q, q_scale, q_gains), heads(k, k_scale, k_gains)
        logits = q @ k.swapaxes(2, 3) * config.head_dim**-0.5
        seen = _seen(config, inputs, k.shape[2])
        return nn.softmax(jnp.where(seen[:, None, None, :], logits, -jnp.inf))

    return jax.lax.map(
        lambda xs: layer(*xs),
        (captured["q"]["__call__"][0], captured["k"]["__call__"][0])
        + (scales["norm_q"], scales["norm_k"]),
    )


def reference_attention(
    config: DiTConfig, params: Any, inputs: dict[str, Any]
) -> Float[Array, "l b k t r"]:
    """Share of its attention that a frame's average token gives to the picture of each subject."""
    weights = self_attention(config, params, inputs)
    (t, h, w), slots = _grid(config, inputs["latents"]), inputs["references"].shape[1]
    cells = _cells(config, inputs["references"])
    start = t * h * w
    pictures = weights[:, :, :, :start, start : start + slots * cells]
    return reduce(pictures, "l b k (t s) (r c) -> l b k t r", "sum", t=t, r=slots) / (h * w)


def _grid(config: DiTConfig, latents: jax.Array) -> tuple[int, int, int]:
    t, h, w = (n // p for n, p in zip(latents.shape[1:4], config.patch, strict=True))
    return t, h, w


def _cells(config: DiTConfig, references: jax.Array) -> int:
    return (references.shape[2] // config.patch[1]) * (references.shape[3] // config.patch[2])


def _gains(config: DiTConfig, inputs: dict[str, Any]) -> tuple[jax.Array, jax.Array]:
    references = inputs["references"]
    return sequence_gains(
        axis_frequencies(config.head_dim, config.theta_t, config.theta_hw),
        _grid(config, inputs["latents"]),
        inputs["intervals"],
        config.scheme,
        (references.shape[2] // config.patch[1], references.shape[3] // config.patch[2]),
        inputs["tags"].shape[2] if config.tags else 0,
        config.layout,
        config.mix_queries,
    )


def _seen(config: DiTConfig, inputs: dict[str, Any], n: int) -> jax.Array:
    used, tag_mask = inputs["used"], inputs["tag_mask"]
    pictures = jnp.repeat(used, _cells(config, inputs["references"]), axis=1)
    words = (tag_mask & used[..., None]) if config.tags else tag_mask[..., :0]
    subjects = jnp.concatenate([pictures, words.reshape(used.shape[0], -1)], axis=1)
    return jnp.pad(subjects, ((0, 0), (n - subjects.shape[1], 0)), constant_values=True)
