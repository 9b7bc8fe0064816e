"""Times of the flow, shifted towards noise, because large pictures keep their layout longer."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key


def shift_time(t: Float[Array, "*shape"], shift: float) -> Float[Array, "*shape"]:
    """Shifted times `s t / (1 + (s - 1) t)`: 0 and 1 stay, s > 1 moves the rest towards noise.

    Args:
        t: times in [0, 1], of any shape.
        shift: s, above 0; 1 changes nothing.

    Returns:
        Times in [0, 1], of the shape of `t`.

    Raises:
        TypeError: `t` is not an array of numbers.

    Examples:
        >>> al.flow.shift_time(jnp.array([0.0, 0.5, 1.0]), 3.0).tolist()
        [0.0, 0.75, 1.0]

    Source:
        Stable Diffusion 3, arXiv 2403.03206, section 5.3.2.
    """
    return shift * t / (1 + (shift - 1) * t)


def time_grid(steps: int, shift: float) -> Float[Array, " steps_plus_1"]:
    """Equal steps from time 1 down to 0, shifted.

    Args:
        steps: how many, at least 1.
        shift: as for `shift_time`.

    Returns:
        Times from 1 (noise) to 0 (data), float32 `[steps + 1]`.

    Raises:
        ValueError: `steps` is below -1.

    Examples:
        >>> al.flow.time_grid(2, 3.0).tolist()
        [1.0, 0.75, 0.0]

    Source:
        Stable Diffusion 3, arXiv 2403.03206, section 5.3.2.
    """
    return shift_time(jnp.linspace(1.0, 0.0, steps + 1, dtype=jnp.float32), shift)


def sample_times(
    key: Key[Array, ""], batch: int, shift: float, span: tuple[float, float] = (0.0, 1.0)
) -> Float[Array, " b"]:
    """Training times: one uniform draw in each of `batch` equal strata, shuffled, then shifted.

    Strata cover the span evenly in every batch, which lowers the variance of the loss at no cost.

    Args:
        key: a typed key of JAX.
        batch: how many times, 0 or more.
        shift: as for `shift_time`.
        span: the least time, and the time below which all are; within it times are as likely,
            compared with one another, as they are in the whole.

    Returns:
        Times in the span, float32 `[batch]`.

    Raises:
        TypeError: `key` is not a key.

    Examples:
        >>> times = al.flow.sample_times(jax.random.key(0), 4, 1.0)
        >>> sorted(int(4 * t) for t in times)  # one in each quarter
        [0, 1, 2, 3]

    Source:
        Stratified sampling; the shift is Stable Diffusion 3's, arXiv 2403.03206, section 5.3.2.
    """
    where, order = jax.random.split(key)
    u = (jax.random.permutation(order, batch) + jax.random.uniform(where, (batch,))) / batch
    if tuple(span) != (0.0, 1.0):
        # The inverse of the shift by s is the shift by 1 / s.
        low, high = (t / (t + shift * (1 - t)) for t in span)
        u = low + (high - low) * u
    return shift_time(u.astype(jnp.float32), shift)
