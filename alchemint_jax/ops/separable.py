"""Attention in which the regions of subjects favour some keys over others: TS-Attn's bias.

The bias of a query depends on its own logits, head by head, so that no channels beside queries and
keys can say it (see `ops.bias`). Logits of one head are formed at a time: this is for keys that are
few, such as those of a text.

Axes: b batch, n tokens, m keys, k heads, d head dim, e width of the values, s subjects, t frames.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from einops import rearrange
from jaxtyping import Array, Bool, Float

from alchemint_jax.ops.bias import LowRankBias, folded
from alchemint_jax.ops.pooled import one_by_one

LEAST, MOST = 1.0, 1.5
"""What the bias of a key is multiplied by: the key that has the most attention, and the least."""
_SMALL = 1e-12


class Favours(NamedTuple):
    """Which keys are 1 for whom, and others 0; the keys of a slot without a subject are all 0."""

    subjects: jax.Array
    """Those of each subject's word, which say where the subject is [b s m]."""
    lifted: jax.Array
    """Those that gain, where a subject is, in a frame [b s t m]."""
    lowered: jax.Array
    """Those that lose, where a subject is, in a frame [b s t m]; none of them is lifted there."""


def separated_attention(
    q: Float[Array, "b n k d"],
    k: Float[Array, "b m k d"],
    v: Float[Array, "b m k e"],
    raw: tuple[Float[Array, "b n k d"], Float[Array, "b m k d"]],
    favours: Favours,
    grid: tuple[int, int, int],
    bias: LowRankBias | None = None,
) -> Float[Array, "b n k e"]:
    """Attention under the bias of `separation`, inside the regions of subjects alone.

    Args:
        q: queries; those of the video's tokens come first, and only these are biased.
        k: keys.
        v: values.
        raw: queries and keys before they were normed, which say where subjects are, and how strong
            the bias is.
        favours: of the keys.
        grid: latent frames, rows and columns of the video's tokens.
        bias: what is added to the logits besides.

    Returns:
        As `ops.attention.attention`. No gradient goes through the bias.
    """
    scale, video = q.shape[3] ** -0.5, math.prod(grid)
    look = jax.lax.stop_gradient((raw[0][:, :video], raw[1]))
    given = _given(one_by_one(look[0]), one_by_one(look[1]), favours.subjects, scale)
    regions = subject_regions(given, grid)
    lifted, lowered = (_there(regions, keys) for keys in favours[1:])
    if bias is not None:
        q, k = folded(q, k, bias, scale)

    def attend(parts: tuple[jax.Array, ...]) -> jax.Array:
        queries, keys, values, raw_queries, raw_keys = parts
        logits = _logits(queries, keys, scale)
        seen = _logits(raw_queries, raw_keys, scale)
        found = separation(seen, lifted[:, :, None], lowered[:, :, None])
        logits = logits.at[:, :video].add(found)
        probabilities = jax.nn.softmax(logits, axis=-1).astype(values.dtype)
        return jnp.einsum("bnsm,bmse->bnse", probabilities, values)

    y = jax.lax.map(attend, tuple(one_by_one(x) for x in (q, k, v, *look)))
    return rearrange(y, "k b n s e -> b n (s k) e")


def separation(
    logits: Float[Array, "*b m"], lifted: Float[Array, "*#b m"], lowered: Float[Array, "*#b m"]
) -> Float[Array, "*b m"]:
    """The bias that lifts the logits of some keys, and lowers those of others.

    With the largest, the mean and the least of a query's logits, and p its probabilities brought to
    the range from 0 to 1, it is

        a ((largest - mean) lifted + (least - mean) lowered),   a = LEAST + (MOST - LEAST) (1 - p).

    Args:
        logits: of each query.
        lifted: 1 for keys that gain.
        lowered: 1 for keys that lose.

    Source:
        TS-Attn, arXiv 2604.19473, and its released code, which from the second event on has logits
        of other queries here.
    """
    p = jax.nn.softmax(logits, axis=-1)
    low, high = (f(p, axis=-1, keepdims=True) for f in (jnp.min, jnp.max))
    weight = LEAST + (MOST - LEAST) * (1 - (p - low) / (high - low + _SMALL))
    low, mean, high = (f(logits, axis=-1, keepdims=True) for f in (jnp.min, jnp.mean, jnp.max))
    return weight * ((high - mean) * lifted + (low - mean) * lowered)


def subject_regions(
    given: Float[Array, "b n s"], grid: tuple[int, int, int]
) -> Bool[Array, "b n s"]:
    """Where subjects are: cells that give more to a word than the upper half of cells in the mean.

    A cell none of whose eight neighbours in its frame does so is left out. A subject without tokens
    is nowhere.

    Args:
        given: what each cell of the video gives to each word.
        grid: latent frames, rows and columns.
    """
    t, h, w = grid
    upper = jnp.sort(given, axis=1)[:, -max(1, given.shape[1] // 2) :]
    above = given > upper.mean(1, keepdims=True)
    above = rearrange(above, "b (t h w) s -> b t h w s", t=t, h=h, w=w)
    wide = jnp.pad(above, ((0, 0), (0, 0), (1, 1), (1, 1), (0, 0)))
    near = jnp.zeros_like(above)
    for y in range(3):
        for x in range(3):
            if (y, x) != (1, 1):
                near = near | wide[:, :, y : y + h, x : x + w]
    return rearrange(above & near, "b t h w s -> b (t h w) s")


def _given(
    q: Float[Array, "k2 b n s2 d"],
    k: Float[Array, "k2 b m s2 d"],
    subjects: Float[Array, "b s m"],
    scale: float,
) -> Float[Array, "b n s"]:
    """The mean over heads and the tokens of a word of what each query gives to them."""
    heads = q.shape[0] * q.shape[3]
    shares = subjects / jnp.maximum(subjects.sum(-1, keepdims=True), 1) / heads

    def add(total: jax.Array, one: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, None]:
        given = jax.nn.softmax(_logits(*one, scale), axis=-1)
        return total + jnp.einsum("bnhm,bsm->bns", given, shares), None

    nothing = jnp.zeros((*q.shape[1:3], subjects.shape[1]), _precise(q))
    return jax.lax.scan(add, nothing, (q, k))[0]


def _there(regions: Bool[Array, "b n s"], keys: Float[Array, "b s t m"]) -> Float[Array, "b n m"]:
    """1 for the keys that are so for any of the subjects whose region a token is in."""
    by_frame = rearrange(regions, "b (t p) s -> b t p s", t=keys.shape[2]).astype(keys.dtype)
    found = jnp.einsum("btps,bstm->btpm", by_frame, keys)
    return rearrange(jnp.minimum(found, 1), "b t p m -> b (t p) m")


def _logits(
    q: Float[Array, "b n s d"], k: Float[Array, "b m s d"], scale: float
) -> Float[Array, "b n s m"]:
    return jnp.einsum("bnsd,bmsd->bnsm", q, k, preferred_element_type=_precise(q)) * scale


def _precise(x: jax.Array) -> jnp.dtype:
    return jnp.promote_types(x.dtype, jnp.float32)
