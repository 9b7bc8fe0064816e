"""How well attention to a word follows a curve over time: the three terms of TempoControl.

All are differentiable by the attention, and of each word alone. Source: TempoControl, arXiv
2510.02226, in the form of its released code: that leaves the first and the last latent frame out of
the correlation, has sums over places in the magnitude, and means over frames that are on or off in
place of sums over all. As in the paper, a frame whose curve is at the threshold is off; there it is
neither.

Axes: t latent frames, n places of a frame; any axes before them (batch, words).
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

TRIM = 1
"""Latent frames at each end that the correlation leaves out; none where too few would be left."""
_VARIANCE, _RANGE, _SHARE = 1e-6, 1e-6, 1e-10  # of the released code
_SPREAD = 1e-20  # below what float32 resolves of the variance of probabilities


class Terms(NamedTuple):
    """What is minimised is `-correlation + a magnitude + b entropy`; one number for each word."""

    correlation: jax.Array
    """From -1 to 1; 0 where the curve is the same all the time."""
    magnitude: jax.Array
    """Attention of a frame, summed over places: while the word is off, less while it is on."""
    entropy: jax.Array
    """Of the places that attend to the word while it is on, in nats."""


def tempo_terms(
    attention: Float[Array, "*words t n"],
    curve: Float[Array, "*words t"],
    threshold: float,
    trim: int = TRIM,
    signal: Float[Array, "*words t"] | None = None,
) -> Terms:
    """All three terms.

    Args:
        attention: the probability that each place of each frame gives to a word.
        curve: from 0 to 1, when the word is to be there.
        threshold: a word is on where its curve is above.
        trim: latent frames at each end that the correlation leaves out.
        signal: what the curve is correlated with; None is the mean of the attention over places.
    """
    on = curve > threshold
    return Terms(
        correlation(attention.mean(-1) if signal is None else signal, curve, trim),
        magnitude(attention.sum(-1), on),
        _mean(entropy(attention), on),
    )


def correlation(
    given: Float[Array, "*words t"], curve: Float[Array, "*words t"], trim: int = TRIM
) -> Float[Array, "*words"]:
    """Pearson's, of a curve and the attention of each frame, brought to the range from 0 to 1.

    Each variance has 1e-6 added: it is 0, and so is its gradient, where one of them stays the same.
    """
    low, high = given.min(-1, keepdims=True), given.max(-1, keepdims=True)
    a, m = (kept(x, trim) for x in ((given - low) / (high - low + _RANGE), curve))
    a, m = (x - x.mean(-1, keepdims=True) for x in (a, m))
    spread = jnp.sqrt(((a**2).mean(-1) + _VARIANCE) * ((m**2).mean(-1) + _VARIANCE))
    return (a * m).mean(-1) / spread


def spread(attention: Float[Array, "*maps t n"]) -> Float[Array, "*maps t"]:
    """The standard deviation over places: how far they differ in what they give to a word.

    Its gradient is 0 where they do not.
    """
    return jnp.sqrt(attention.var(-1) + _SPREAD)


def kept(x: Float[Array, "*words t"], trim: int) -> Float[Array, "*words t2"]:
    """The frames that the correlation is of: two at the least."""
    n = x.shape[-1]
    trim = max(0, min(trim, (n - 2) // 2))
    return x[..., trim : n - trim]


def magnitude(
    given: Float[Array, "*words t"], on: Bool[Array, "*words t"]
) -> Float[Array, "*words"]:
    """The mean over frames that are off, less that over those on; 0 where there are none."""
    return _mean(given, ~on) - _mean(given, on)


def entropy(attention: Float[Array, "*words t n"]) -> Float[Array, "*words t"]:
    """Shannon's, of how the attention of each frame is shared out over its places, in nats."""
    share = attention / (attention.sum(-1, keepdims=True) + _SHARE)
    return -(share * jnp.log(share + _SHARE)).sum(-1)


def _mean(x: Float[Array, "*words t"], where: Bool[Array, "*words t"]) -> Float[Array, "*words"]:
    return jnp.where(where, x, 0).sum(-1) / jnp.maximum(where.sum(-1), 1)
