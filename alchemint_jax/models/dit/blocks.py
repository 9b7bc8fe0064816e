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
from jax.ad_checkpoint import checkpoint_name
from jaxtyping import Array, Bool, Complex, Float

from alchemint_jax.models.dit import remat
from alchemint_jax.models.dit.between import Between, Drawn
from alchemint_jax.models.dit.config import DiTConfig
from alchemint_jax.models.dit.probe import Attended
from alchemint_jax.models.dit.separated import Separated
from alchemint_jax.models.dit.sequence import SequenceLayout
from alchemint_jax.models.layers import Linear, layer_norm, logical, parameter, rms_norm
from alchemint_jax.ops.attention import attention, observed_attention
from alchemint_jax.ops.bias import LowRankBias
from alchemint_jax.rotary import apply_gains
from alchemint_jax.sharding import constrain


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["modulation", "given", "clean"],
    meta_fields=["length"],
)
@dataclasses.dataclass(frozen=True)
class Segment:
    """A run of `length` tokens that share a modulation [b 1|length s d].

    Some of them [b length] may be given, as clean data, whose modulation [b 1 s d] is another: to
    choose between two rows, token by token, takes no memory, as rows of single tokens would.
    Its length is static: it cuts the sequence, also inside a recomputed layer.
    """

    length: int
    modulation: Any
    given: Any = None
    clean: Any = None

    def shifted(self, table: Float[Array, "#b 1 s d"]) -> Segment:
        """With the same table added to all modulations."""
        clean = None if self.clean is None else self.clean + table
        return Segment(self.length, self.modulation + table, self.given, clean)

    def rows(self, index: int) -> Float[Array, "b s2 d"]:
        """Row `index` of the modulation of each token, or one for all of them."""
        rows = self.modulation[:, :, index]
        if self.given is None:
            return rows
        return jnp.where(self.given[..., None], self.clean[:, :, index], rows)


class Inputs(NamedTuple):
    """What every layer sees besides the tokens."""

    segments: tuple[Segment, ...]
    q_gains: jax.Array
    k_gains: jax.Array
    key_mask: jax.Array | None
    text: jax.Array
    events: EventInputs | None
    image: jax.Array | None = None
    bias: LowRankBias | None = None
    text_bias: LowRankBias | None = None
    looked_at: LookedAt | None = None
    between: Between | None = None
    frames: jax.Array | None = None
    separated: Separated | None = None


class Strengths(NamedTuple):
    """What a layer's biases are multiplied by; None is 1."""

    bias: Any = None
    between: Any = None
    separated: Any = None


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["probe", "subjects"],
    meta_fields=["sequence"],
)
@dataclasses.dataclass(frozen=True)
class LookedAt:
    """A probe, with the groups of the sequence's tokens [1 n 2r] that it looks at, if any."""

    probe: Any
    subjects: Any
    sequence: SequenceLayout


class EventInputs(NamedTuple):
    """Dense captions: states [b m d], their mask [b m], ReRoPE gains of queries and keys."""

    states: jax.Array
    mask: jax.Array
    q_gains: jax.Array
    k_gains: jax.Array

    def with_cuts(
        self,
        vector: Float[Array, " d"],
        used: Bool[Array, "b c"],
        gains: Complex[Array, "b c half"],
        length: int,
    ) -> EventInputs:
        """With cuts behind the captions: the same vector for each, at the times of its gains.

        Each stands there as often as a caption has tokens: one among so many would hardly be heard.
        """
        b, c = used.shape
        states = jnp.broadcast_to(vector.astype(self.states.dtype), (b, c * length, len(vector)))
        return EventInputs(
            jnp.concatenate([self.states, states], axis=1),
            jnp.concatenate([self.mask, jnp.repeat(used, length, axis=1)], axis=1),
            self.q_gains,
            jnp.concatenate([self.k_gains, jnp.repeat(gains, length, axis=1)], axis=1),
        )


def sinusoid(t: Float[Array, " ..."], dim: int) -> Float[Array, "... dim"]:
    """Wan's embedding of a time in [0, 1]: cosines, then sines.

    They are of 1000 t at frequencies 10000**(-i / half).
    """
    half = dim // 2
    freqs = jnp.exp(-jnp.log(1e4) * jnp.arange(half, dtype=jnp.float32) / half)
    angle = 1000.0 * t.astype(jnp.float32)[..., None] * freqs.reshape((1,) * t.ndim + (half,))
    return jnp.concatenate([jnp.cos(angle), jnp.sin(angle)], axis=-1)


def modulations(segments: Sequence[Segment], index: int, tokens: int) -> Float[Array, "b s d"]:
    """Row `index` of each token's modulation (or one row for all tokens), float32.

    Rows are chosen by the token's place, not cut out and joined: a sequence that is split over
    devices stays where it is, and nothing of the sequence's size is stored.
    """
    first, *others = (segment.rows(index) for segment in segments)
    if not others:
        return first
    place = jnp.arange(tokens)[None, :, None]
    rows, start = _along(first, 0, tokens), segments[0].length
    for segment, other in zip(segments[1:], others, strict=True):
        rows = jnp.where(place >= start, _along(other, start, tokens), rows)
        start += segment.length
    return rows


def _along(rows: Float[Array, "b s d"], start: int, tokens: int) -> Float[Array, "b s2 d"]:
    """Rows of single tokens at their places; one for all tokens as it is."""
    after = tokens - start - rows.shape[1]
    return rows if rows.shape[1] == 1 else jnp.pad(rows, ((0, 0), (start, after), (0, 0)))


def modulated_norm(
    x: Float[Array, "b n d"], segments: Sequence[Segment], shift: int, scale: int
) -> Float[Array, "b n d"]:
    """`norm(x) (1 + scale) + shift`, by each segment's rows; in float32, returns `x`'s dtype."""
    y, scales, shifts = _one(
        layer_norm(x.astype(jnp.float32)),
        modulations(segments, scale, x.shape[1]),
        modulations(segments, shift, x.shape[1]),
    )
    return (y * (1 + scales) + shifts).astype(x.dtype).reshape(x.shape)


def add_gated(
    x: Float[Array, "b n d"], y: Float[Array, "b n d"], segments: Sequence[Segment], gate: int
) -> Float[Array, "b n d"]:
    """`x + y gate`, by each segment's own gate; in float32, returns `x`'s dtype."""
    rows, y, gates = _one(x, y, modulations(segments, gate, x.shape[1]))
    y = y.astype(jnp.float32) * gates
    return (rows.astype(jnp.float32) + y).astype(x.dtype).reshape(x.shape)


def _one(*arrays: jax.Array) -> tuple[jax.Array, ...]:
    """Without the axis of the batch, where no array has more than one sample.

    XLA's gradients on CPUs, sums of products, are many times slower with such an axis.
    """
    if any(len(x) > 1 for x in arrays):
        return arrays
    return tuple(x.reshape(x.shape[1:]) for x in arrays)


class Attention(nn.Module):
    """Multi-head attention with RMS-normed queries and keys.

    The norm is over all heads together, before the split.
    """

    n_heads: int
    implementation: str = "auto"
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
        bias: LowRankBias | None = None,
        groups: Float[Array, "#b m g"] | None = None,
        drawn: Drawn | None = None,
        pictures: int = 1,
        separated: Separated | None = None,
    ) -> tuple[Float[Array, "b n d"], Float[Array, "b n k g"] | None]:
        """Attends from `x` to `context`; queries and keys are turned by their gains, if any.

        The same queries attend to `image` by keys and values of its own, in a softmax of its own;
        the sum of both goes through the output projection. `bias` and `groups` are of the context.
        `drawn` draws each softmax on its own, and `image` is of so many `pictures`, each with a
        softmax. `separated` biases the video by logits of its own. Beside the output there is the
        probability of each group, if there are groups.
        """
        dim = x.shape[-1]
        seen = "tokens" if context is x else "text_tokens"

        # Where positions turn queries and keys, equal biases make attention a function of distance
        # (and, for a reference, of its interval) from the first step on: a network trained from
        # scratch starts with the prior that a pretrained one would bring along.
        prior = nn.initializers.zeros if q_gains is None else nn.initializers.ones

        raw: dict[str, jax.Array] = {}

        def heads(name: str, y: jax.Array) -> jax.Array:
            y = y.reshape(*y.shape[:2], self.n_heads, dim // self.n_heads)
            return constrain(y, "batch", "tokens" if name == "q" else seen, "heads", None)

        def project(name: str, y: jax.Array, normed: bool) -> jax.Array:
            bias = prior if normed else nn.initializers.zeros
            y = raw[name] = Linear(dim, ("embed", "heads"), bias_init=bias, name=name)(y)
            if normed:
                scale = parameter(
                    self, f"norm_{name}", logical(nn.initializers.ones, ("heads",)), (dim,)
                )
                y = rms_norm(y, scale)
            return heads(name, y)

        q, k, v = project("q", x, True), project("k", context, True), project("v", context, False)
        if q_gains is not None and k_gains is not None:
            q, k = apply_gains(q, q_gains), apply_gains(k, k_gains)
        if drawn is not None:
            bias = drawn.bias(q, k, bias)
        probabilities = None
        if separated is not None:
            unnormed = heads("q", raw["q"]), heads("k", raw["k"])
            y, probabilities = separated.attend(
                q, k, v, unnormed, groups, self.implementation, bias
            )
        elif groups is None:
            y = attention(q, k, v, key_mask, self.implementation, bias)
        else:
            y, probabilities = observed_attention(
                q, k, v, groups, key_mask, self.implementation, bias
            )
        if image is not None:
            k, v = project("k_img", image, True), project("v_img", image, False)
            streams = [(k, v)] if pictures == 1 else _apart(k, v, pictures)
            for k, v in streams:
                pull = None if drawn is None else drawn.bias(q, k)
                y = y + attention(q, k, v, implementation=self.implementation, bias=pull)
        y = y.reshape(x.shape)
        init = nn.initializers.zeros if self.zero_output else nn.initializers.xavier_uniform()
        y = Linear(dim, ("heads", "embed"), kernel_init=init, name="o")(y)
        return constrain(y, "batch", "tokens", None), probabilities


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
        self, x: Float[Array, "b n d"], inputs: Inputs, strengths: Strengths | None = None
    ) -> tuple[Float[Array, "b n d"], Attended | None]:
        """The tokens after this layer, as the carry of a scan over layers, and what it attended to.

        `strengths` are those of this layer.
        """
        cfg, looked_at = self.config, inputs.looked_at
        strengths = strengths or Strengths()
        bias, text_bias = (_times(b, strengths.bias) for b in (inputs.bias, inputs.text_bias))
        drawn, between = None, inputs.between
        if between is not None and inputs.frames is not None:
            drawn = Drawn(between, inputs.frames, strengths.between)
        x = checkpoint_name(x, remat.LAYER)
        table = parameter(
            self,
            "modulation",
            logical(_half_open_gates, (None, None, "embed")),
            (1, 6, cfg.dim),
        )
        segments = [segment.shifted(table[:, None]) for segment in inputs.segments]

        h = modulated_norm(x, segments, shift=0, scale=1)
        h, subjects = Attention(cfg.n_heads, cfg.attention, name="self_attn")(
            h,
            h,
            inputs.q_gains,
            inputs.k_gains,
            inputs.key_mask,
            bias=bias,
            groups=looked_at.subjects if looked_at else None,
        )
        x = add_gated(x, h, segments, gate=2)

        scale = parameter(self, "norm_cross_scale", nn.initializers.ones, (cfg.dim,))
        shift = parameter(self, "norm_cross_bias", nn.initializers.zeros, (cfg.dim,))
        h = layer_norm(x, scale, shift)
        cross = Attention(cfg.n_heads, cfg.attention, name="cross_attn")
        words = looked_at.probe.words if looked_at else None
        y, words = cross(
            h,
            inputs.text,
            image=inputs.image,
            bias=text_bias,
            groups=None if words is None else words.swapaxes(1, 2),
            drawn=drawn,
            # Networks of a first and a last frame have a position for each state of both.
            pictures=2 if between is not None and between.isolated and cfg.image_positions else 1,
            separated=inputs.separated and inputs.separated.in_layer(strengths.separated),
        )
        if inputs.events is not None:
            y = y + self._events(h, inputs.segments[0].length, inputs.events)
        x = x + y

        h = modulated_norm(x, segments, shift=3, scale=4)
        h = Linear(cfg.ffn_dim, ("embed", "mlp"), name="ffn_up")(h)
        h = nn.gelu(constrain(h, "batch", "tokens", "mlp"), approximate=True)
        h = Linear(cfg.dim, ("mlp", "embed"), name="ffn_down")(h)
        x = add_gated(x, h, segments, gate=5)
        attended = None if looked_at is None else _attended(looked_at, subjects, words)
        return constrain(x, "batch", "tokens", None), attended

    def _events(self, h: jax.Array, n_video: int, events: EventInputs) -> jax.Array:
        """Video tokens attend to the captions of events; all other tokens are left as they are.

        So is a sample without any event.
        """
        cfg = self.config
        branch = Attention(cfg.n_heads, cfg.attention, zero_output=True, name="event_attn")
        y, _ = branch(h[:, :n_video], events.states, events.q_gains, events.k_gains, events.mask)
        y = jnp.where(events.mask.any(1)[:, None, None], y, 0)
        return jnp.pad(y, ((0, 0), (0, h.shape[1] - n_video), (0, 0)))


def _times(bias: LowRankBias | None, strength: jax.Array | None) -> LowRankBias | None:
    if bias is None or strength is None:
        return bias
    return bias._replace(keys=bias.keys * strength)


def _apart(k: jax.Array, v: jax.Array, parts: int) -> list[tuple[jax.Array, jax.Array]]:
    """Keys and values of each of so many pictures."""
    return list(zip(jnp.split(k, parts, axis=1), jnp.split(v, parts, axis=1), strict=True))


def _attended(
    looked_at: LookedAt,
    subjects: Float[Array, "b n k g"] | None,
    words: Float[Array, "b n k g2"] | None,
) -> Attended:
    """What the video gave to the groups of one layer's self- and cross-attention."""
    probe, sequence = looked_at.probe, looked_at.sequence
    seen = Attended()
    if subjects is not None:
        references, tags = jnp.split(probe.averaged(subjects, sequence), 2, axis=-1)
        seen = Attended(references, tags)
    return seen if words is None else seen._replace(words=probe.averaged(words, sequence))
