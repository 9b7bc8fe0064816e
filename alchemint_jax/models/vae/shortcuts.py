"""Ways around the stages of Wan2.2's autoencoder, and its patches. None of them has parameters.

A stage gives what its layers make plus what a shortcut makes of its input, which has to change size
and channels as the stage does. Cells go into channels and back, several channels become one by
their mean, and one becomes several by copies. So channels have an order: (channel, frame, row,
column) for shortcuts, (colour, column, row) for patches, the slowest first.

Axes: b batch, f frames, h w space, c channels. Those of time stream, as in `ops.conv`.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from einops import rearrange
from jaxtyping import Array, Float


def patchify(x: Float[Array, "b f h w c"], patch: int) -> Float[Array, "b f h2 w2 c2"]:
    """Squares of `patch` x `patch` pixels as channels."""
    return rearrange(x, "b f (h q) (w r) c -> b f h w (c r q)", q=patch, r=patch)


def unpatchify(x: Float[Array, "b f h w c"], patch: int) -> Float[Array, "b f h2 w2 c2"]:
    """The way back."""
    return rearrange(x, "b f h w (c r q) -> b f (h q) (w r) c", q=patch, r=patch)


def folded(
    x: Float[Array, "b f h w c"], features: int, space: int
) -> Float[Array, "b f h2 w2 features"]:
    """Squares of `space` x `space` cells as channels, neighbours averaged to `features` of them."""
    return _grouped(
        rearrange(x, "b f (h q) (w r) c -> b f h w (c q r)", q=space, r=space), features
    )


def folded_pairs(
    x: Float[Array, "b f h w c"],
    features: int,
    space: int,
    before: Float[Array, "b past h w c"] | None = None,
) -> tuple[Float[Array, "b f2 h2 w2 features"], Float[Array, "b past2 h w c"]]:
    """The same of pairs of frames; frame 0 is the second of its pair, behind a frame of zeros.

    Frames 1 and 2 are a pair, and so on. A chunk may end between the two of a pair.
    """
    window = jnp.concatenate([jnp.zeros_like(x[:, :1]) if before is None else before, x], axis=1)
    whole = window.shape[1] // 2 * 2
    cells = "b (f p) (h q) (w r) c -> b f h w (c p q r)"
    y = rearrange(window[:, :whole], cells, p=2, q=space, r=space)
    return _grouped(y, features), window[:, whole:]


def _grouped(x: jax.Array, features: int) -> jax.Array:
    """Consecutive channels averaged, so that `features` are left."""
    return x.reshape(*x.shape[:-1], features, x.shape[-1] // features).mean(axis=-1)


def unfolded(
    x: Float[Array, "b f h w c"], features: int, frames: int, first: bool
) -> Float[Array, "b f2 h2 w2 features"]:
    """Channels, repeated as often as it takes, as frames and squares of 2 x 2 cells.

    Args:
        x: the frames.
        features: channels of the result.
        frames: how many are made of each one, 1 or 2.
        first: whether these are the first frames of a clip: of frame 0 only the last one is kept.
    """
    repeats = features * frames * 4 // x.shape[-1]
    y = jnp.repeat(x, repeats, axis=-1)
    y = rearrange(y, "b f h w (c p q r) -> b (f p) (h q) (w r) c", p=frames, q=2, r=2)
    return y[:, frames - 1 :] if first else y
