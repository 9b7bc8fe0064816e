"""What the frames between given ones are drawn towards, inside cross-attention.

Attention of a frame is a mean over its tokens and all heads. A bias that depends on it can only be
known where queries and keys are, so that a control says what it wants, and layers find it.

Axes: b batch, n tokens, m keys, k heads, d head dim, t latent frames, l layers.
"""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Complex, Float

from alchemint_jax.models.dit.conditioning import repeat
from alchemint_jax.ops.bias import LowRankBias
from alchemint_jax.ops.pooled import pooled_attention
from alchemint_jax.rotary import retro_gains
from alchemint_jax.rotary.axes import Frequencies

FLOOR = 5e-4
"""Of attention to a key, before its logarithm; that of the released code."""


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["targets", "weights", "layers", "scales"],
    meta_fields=["isolated", "phase"],
)
@dataclasses.dataclass(frozen=True)
class Between:
    """Draws the cross-attention of frames towards that of others, and scales time in between.

    Attributes:
        targets: which frames each frame is drawn towards, and how much of each [b t t]: rows sum to
            1. None draws none.
        weights: how strongly [b t]; 0 is not at all.
        layers: what that is multiplied by in each layer [l]; None is 1.
        scales: of the temporal rotations of each frame, in all layers [b t], see `retro_gains`;
            None leaves them.
        isolated: whether each of several given pictures is attended to in a softmax of its own.
        phase: whether the angles of rotations are scaled, and not their amplitudes.
    """

    targets: Any = None
    weights: Any = None
    layers: Any = None
    scales: Any = None
    isolated: bool = False
    phase: bool = False

    def repeated(self, times: int) -> Between:
        """For a batch that is the same one so many times."""
        targets, weights, scales = repeat((self.targets, self.weights, self.scales), times)
        return dataclasses.replace(self, targets=targets, weights=weights, scales=scales)

    def without_captions(self, empty: Bool[Array, " b"]) -> Between:
        """For a batch some of whose passes have no caption, and draw nothing; scales stay."""
        if self.weights is None:
            return self
        return dataclasses.replace(self, weights=jnp.where(empty[:, None], 0, self.weights))

    def scaled(
        self, gains: Complex[Array, "#b n half"], video: int, freqs: Frequencies
    ) -> Complex[Array, "#b n half"]:
        """Gains of a sequence whose first `video` tokens are those of the video."""
        if self.scales is None:
            return gains
        own = retro_gains(
            gains[:, :video], self.scales, freqs, "phase" if self.phase else "amplitude"
        )
        others = gains[:, video:]
        return jnp.concatenate(
            [own, jnp.broadcast_to(others, (len(own), *others.shape[1:]))], axis=1
        )


class Drawn(NamedTuple):
    """What a layer's cross-attention is to do."""

    between: Between
    frames: jax.Array
    """1 where a token is of a latent frame of the video [1 n t]."""
    strength: jax.Array | None
    """Of this layer []."""

    def bias(
        self,
        q: Float[Array, "b n k d"],
        k: Float[Array, "b m k d"],
        bias: LowRankBias | None = None,
    ) -> LowRankBias | None:
        """The bias of attention to these keys; `bias`, which is of frames too, is in it.

        Attention is only looked at where it is to be drawn. No gradient goes through the bias.
        """
        between, frames = self.between, self.frames
        if between.weights is None:
            return bias
        weights = between.weights if self.strength is None else between.weights * self.strength
        q, k = jax.lax.stop_gradient((q, k))

        def found() -> jax.Array:
            seen = pooled_attention(q, k, frames, jax.lax.stop_gradient(bias))
            return anchor_bias(seen, between.targets, weights).astype(frames.dtype)

        def nothing() -> jax.Array:
            return jnp.zeros((q.shape[0], frames.shape[2], k.shape[1]), frames.dtype)

        keys = jax.lax.cond(jnp.any(weights != 0), found, nothing).swapaxes(1, 2)
        return LowRankBias(frames, keys if bias is None else bias.keys + keys)


def anchor_bias(
    attention: Float[Array, "b t m"],
    targets: Float[Array, "b t t"],
    weights: Float[Array, "b t"],
) -> Float[Array, "b t m"]:
    """The bias that draws the attention of each frame towards what it is to be.

    With the mean attention A(i) of frame i and its target M(i) = sum_j targets(i, j) A(j) it is

        weights(i) (log max(M(i), FLOOR) - log max(A(i), FLOOR)).
    """
    wanted = jnp.einsum("bij,bjm->bim", targets, attention)
    pull = jnp.log(jnp.maximum(wanted, FLOOR)) - jnp.log(jnp.maximum(attention, FLOOR))
    return weights[..., None] * pull
