"""What attention has where it is not told: a scale of the logits, and keys that are all seen."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float


def scale_of(q: Float[Array, "b n k d"], scale: float | None) -> float:
    """The scale, or d**-0.5."""
    return q.shape[3] ** -0.5 if scale is None else scale


def seen_of(k: Float[Array, "b m k d"], key_mask: Bool[Array, "b m"] | None) -> Bool[Array, "b m"]:
    """The mask, or one of all keys."""
    return jnp.ones(k.shape[:2], bool) if key_mask is None else key_mask
