"""Relay: what happens when, told to attention while sampling, for models without an event branch.

The texts of events follow the caption in one prompt, and video does not see the tokens of an event
outside of its time. That is the penalty of Prompt Relay, arXiv 2604.10030, in the form in which
events may overlap, nest, and leave gaps.

Axes: b batch, e events, m intervals of an event, t latent frames, l tokens of the prompt.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from alchemint_jax.errors import ConfigError
from alchemint_jax.models.dit import Bias
from alchemint_jax.ops.bias import HIDDEN
from alchemint_jax.sampling.control.step import Moment, Steered


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class Relay:
    """Times the events of scenes on models that were never trained with any.

    Attributes:
        tail: latent frames outside of an event at which its tokens have `least` of the weight
            that they have inside; the smaller, the harder its edges.
        least: that share.

    Raises:
        ConfigError: a field is not in its range.

    Examples:
        >>> from alchemint_jax.sampling.control import Relay
        >>> Relay().tail, Relay(tail=1.0).least
        (2.0, 0.001)

    Source:
        Prompt Relay, arXiv 2604.10030.
    """

    tail: float | int = 2.0
    least: float = 1e-3

    def __post_init__(self) -> None:
        if not 0 < self.tail <= 1000:
            raise ConfigError(f"Relay: tail = {self.tail}: must be above 0, and at most 1000")
        if not 0 < self.least < 1:
            raise ConfigError(f"Relay: least = {self.least}: must be between 0 and 1")

    @classmethod
    def of(cls, given: float | int | bool | None) -> Relay | None:
        """What `--relay` asks for: a tail, True for the usual one, or None for none."""
        if given is None:
            return None
        return cls() if given is True else cls(given)

    def settings(self) -> dict[str, Any]:
        """The fields, as plain values."""
        return dataclasses.asdict(self)

    def __call__(self, moment: Moment, latents: Float[Array, "b t h w c"]) -> Steered:
        """See `Control`; the latents stay where they are."""
        told = moment.conditions.told
        if told is None:
            return Steered(latents)
        cost = relay_penalty(told.intervals, latents.shape[1], self.tail, self.least)
        return Steered(latents, Bias(words=event_bias(cost, told.words)))


def relay_penalty(
    intervals: Float[Array, "b e m 2"], n_frames: int, tail: float | int, least: float
) -> Float[Array, "b e t"]:
    """What the logits of an event's tokens lose at each latent frame.

    With the midpoint m and the half length w of an interval it is

        relu(|t - m| - w)**2 / (2 sigma**2),   sigma = tail / sqrt(2 ln(1 / least)),

    which is 0 inside and ln(1 / least) `tail` frames outside. Of several intervals the least
    counts. Rows with start > end are empty: an event without any is hidden throughout.
    """
    start, end = intervals[..., :1], intervals[..., 1:]
    frames = jnp.arange(n_frames)[None, None, None]
    outside = jnp.maximum(jnp.abs(frames - (start + end) / 2) - (end - start) / 2, 0)
    cost = math.log(1 / least) * (outside / tail) ** 2
    return jnp.minimum(jnp.where(start > end, jnp.inf, cost).min(2), -HIDDEN)


def event_bias(cost: Float[Array, "b e t"], words: Bool[Array, "b e l"]) -> Float[Array, "b t l"]:
    """The bias of each token of the prompt: less the cost of its event; others have none."""
    return -jnp.einsum("bet,bel->btl", cost, words.astype(cost.dtype))
