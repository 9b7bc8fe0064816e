"""The layers of the diffusion transformer.

Axes: b batch, n tokens, m context tokens, d width, k heads.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Complex, Float

from alchemint_jax.models.dit.config import DiTConfig
from alchemint_jax.models.layers import Linear, layer_norm, logical, rms_norm
from alchemint_jax.ops.attention import attention
from alchemint_jax.rotary import apply_gains


@partial(jax.tree_util.register_dataclass, data_fields=["modulation"], meta_fields=["length"])
@dataclasses.dataclass(frozen=True)
class Segment:
    """A run of `length` tokens that share a modulation [b 1|length s d].

    Its length is static: it cuts the sequence, also inside a recomputed layer.
    """

    length: int
    modulation: Any


class Inputs(NamedTuple):
    """What every layer sees besides the tokens."""

    segments: tuple[Segment, ...]
    q_gains: jax.Array
    k_gains: jax.Array
    key_mask: jax.Array | None
    text: jax.Array
    events: EventInputs | None
    image: jax.Array | None = None


class EventInputs(NamedTuple):
    """Dense captions: states [b m d], their mask [b m], ReRoPE gains of queries and keys."""

    states: jax.Array
    mask: jax.Array
    q_gains: jax.Array
    k_gains: jax.Array


def sinusoid(t: Float[Array, " ..."], dim: int) -> Float[Array, "... dim"]:
    """Wan's embedding of a time in [0, 1]: cosines, then sines.

    They are of 1000 t at frequencies 10000**(-i / half).
    """
    half = dim // 2
    freqs = jnp.exp(-jnp.log(1e4) * jnp.arange(half, dtype=jnp.float32) / half)
    angle = 1000.0 * t.astype(jnp.float32)[..., None] * freqs.reshape((1,) * t.ndim + (half,))
    return jnp.concatenate([jnp.cos(angle), jnp.sin(angle)], axis=-1)


def per_segment(
    x: Float[Array, "b n d"], segments: Sequence[Segment], shift: int, scale: int
) -> Float[Array, "b n d"]:
    """Modulates each segment by its own rows: x (1 + scale) + shift."""
    parts, start = [], 0
    for segment in segments:
        part = x[:, start : start + segment.length]
        parts.append(
            part * (1 + segment.modulation[:, :, scale]).astype(x.dtype)
            + segment.modulation[:, :, shift].astype(x.dtype)
        )
        start += segment.length
    return jnp.concatenate(parts, axis=1)


def gated(
    x: Float[Array, "b n d"], segments: Sequence[Segment], gate: int
) -> Float[Array, "b n d"]:
    """Each segment of x times its own gate."""
    parts, start = [], 0
    for segment in segments:
        part = x[:, start : start + segment.length]
        parts.append(part * segment.modulation[:, :, gate].astype(x.dtype))
        start += segment.length
    return jnp.concatenate(parts, axis=1)


class Attention(nn.Module):
    """Multi-head attention with RMS-normed queries and keys.

    The norm is over all heads together, before the split.
    """

    n_heads: int
    zero_output: bool = False

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "b n d"],
        context: Float[Array, "b m d"],
        q_gains: Complex[Array, "#b n half"] | None = None,
        k_gains: Complex[Array, "#b m half"] | None = None,
        key_mask: Bool[Array, "b m"] | None = None,
        image: Float[Array, "b m2 d"] | None = None,
    ) -> Float[Array, "b n d"]:
        """Attends from `x` to `context`; queries and keys are turned by their gains, if any.

        The same queries attend to `image` by keys and values of its own, in a softmax of its own;
        the sum of both goes through the output projection.
        """
        dim = x.shape[-1]

        # Where positions turn queries and keys, equal biases make attention a function of distance
        # (and, for a reference, of its interval) from the first step on: a network trained from
        # scratch starts with the prior that a pretrained one would bring along.
        prior = nn.initializers.zeros if q_gains is None else nn.initializers.ones

        def project(name: str, y: jax.Array, normed: bool) -> jax.Array:
            bias = prior if normed else nn.initializers.zeros
            y = Linear(dim, ("embed", "heads"), bias_init=bias, name=name)(y)
            if normed:
                scale = self.param(
                    f"norm_{name}", logical(nn.initializers.ones, ("heads",)), (dim,)
                )
                y = rms_norm(y, scale)
            return y.reshape(*y.shape[:2], self.n_heads, dim // self.n_heads)

        q, k, v = project("q", x, True), project("k", context, True), project("v", context, False)
        if q_gains is not None and k_gains is not None:
            q, k = apply_gains(q, q_gains), apply_gains(k, k_gains)
        y = attention(q, k, v, key_mask)
        if image is not None:
            y = y + attention(q, project("k_img", image, True), project("v_img", image, False))
        y = y.reshape(x.shape)
        init = nn.initializers.zeros if self.zero_output else nn.initializers.xavier_uniform()
        return Linear(dim, ("heads", "embed"), kernel_init=init, name="o")(y)


def _half_open_gates(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """Wan's small random modulations [1 6 d], gates around 1/2: layers start at work."""
    gates = jnp.asarray([0.0, 0.0, 0.5, 0.0, 0.0, 0.5]).reshape(1, 6, 1)
    return nn.initializers.normal(shape[-1] ** -0.5)(key, shape) + gates


class Block(nn.Module):
    """Self-attention, cross-attention to text (pictures, dense captions), feed-forward.

    All are modulated as in Wan.
    """

    config: DiTConfig

    @nn.compact
    def __call__(
        self, x: Float[Array, "b n d"], inputs: Inputs
    ) -> tuple[Float[Array, "b n d"], None]:
        """The tokens after this layer, as the carry of a scan over layers."""
        cfg = self.config
        table = self.param(
            "modulation",
            logical(_half_open_gates, (None, None, "embed")),
            (1, 6, cfg.dim),
        )
        segments = [Segment(s.length, s.modulation + table[:, None]) for s in inputs.segments]

        h = per_segment(layer_norm(x), segments, shift=0, scale=1)
        h = Attention(cfg.n_heads, name="self_attn")(
            h, h, inputs.q_gains, inputs.k_gains, inputs.key_mask
        )
        x = x + gated(h, segments, gate=2)

        scale = self.param("norm_cross_scale", nn.initializers.ones, (cfg.dim,))
        bias = self.param("norm_cross_bias", nn.initializers.zeros, (cfg.dim,))
        h = layer_norm(x, scale, bias)
        y = Attention(cfg.n_heads, name="cross_attn")(h, inputs.text, image=inputs.image)
        if inputs.events is not None:
            y = y + self._events(h, inputs.segments[0].length, inputs.events)
        x = x + y

        h = per_segment(layer_norm(x), segments, shift=3, scale=4)
        h = nn.gelu(Linear(cfg.ffn_dim, ("embed", "mlp"), name="ffn_up")(h), approximate=True)
        h = Linear(cfg.dim, ("mlp", "embed"), name="ffn_down")(h)
        return x + gated(h, segments, gate=5), None

    def _events(self, h: jax.Array, n_video: int, events: EventInputs) -> jax.Array:
        """Video tokens attend to the captions of events; all other tokens are left as they are."""
        branch = Attention(self.config.n_heads, zero_output=True, name="event_attn")
        y = branch(h[:, :n_video], events.states, events.q_gains, events.k_gains, events.mask)
        return jnp.pad(y, ((0, 0), (0, h.shape[1] - n_video), (0, 0)))
