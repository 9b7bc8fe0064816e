"""Times of the flow: shifted towards noise, because large pictures keep their layout longer.

SD3, section 5.3.2.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key


def shift_time(t: Float[Array, "*shape"], shift: float) -> Float[Array, "*shape"]:
    """Shifted times s t / (1 + (s - 1) t): 0 and 1 stay, s > 1 moves the rest towards noise."""
    return shift * t / (1 + (shift - 1) * t)


def time_grid(steps: int, shift: float) -> Float[Array, " steps_plus_1"]:
    """Shifted times from 1 down to 0, float32 [steps + 1]."""
    return shift_time(jnp.linspace(1.0, 0.0, steps + 1, dtype=jnp.float32), shift)


def sample_times(key: Key[Array, ""], batch: int, shift: float) -> Float[Array, " b"]:
    """Training times: one uniform draw in each of `batch` equal strata, shuffled, then shifted.

    Strata cover [0, 1] evenly in every batch, which lowers the variance of the loss at no cost.
    """
    where, order = jax.random.split(key)
    u = (jax.random.permutation(order, batch) + jax.random.uniform(where, (batch,))) / batch
    return shift_time(u.astype(jnp.float32), shift)
