"""Relay: what happens when, told to attention while sampling, for models without an event branch.

Each event has a text of its own, the caption and what happens, and frames without any event have
the caption alone. Video does not see the tokens of a text outside of its time. That is the penalty
of Prompt Relay, arXiv 2604.10030, in the form in which events may overlap, nest, and leave gaps;
what is this repository's is that texts are encoded one by one, since the states of a caption that
is encoded with its events tell of them at all times (see `Prompts`).

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
from alchemint_jax.models.dit.conditioning import Told
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
        contrast: while an event lasts, guidance leads away from the caption without it, in place of
            the negative prompt: what the event adds is then all that guidance amplifies.

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
    contrast: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.tail <= 1000:
            raise ConfigError(f"Relay: tail = {self.tail}: must be above 0, and at most 1000")
        if not 0 < self.least < 1:
            raise ConfigError(f"Relay: least = {self.least}: must be between 0 and 1")

    @classmethod
    def of(cls, given: float | int | bool | None, contrast: bool = False) -> Relay | None:
        """What `--relay` asks for: a tail, True for the usual one, or None for none.

        Raises:
            ConfigError: there is `--contrast`, but no relay.
        """
        if given is None:
            if contrast:
                raise ConfigError("--contrast: says how a relay times events; give --relay, too")
            return None
        return cls(contrast=contrast) if given is True else cls(given, contrast=contrast)

    def settings(self) -> dict[str, Any]:
        """The fields, as plain values."""
        return dataclasses.asdict(self)

    def __call__(self, moment: Moment, latents: Float[Array, "b t h w c"]) -> Steered:
        """See `Control`; the latents stay where they are."""
        told = moment.conditions.told
        if told is None:
            return Steered(latents)
        words = self._bias(told, latents.shape[1])
        nulls = None if told.null is None else self._bias(told.null, latents.shape[1])
        return Steered(latents, Bias(words=words, nulls=nulls))

    def _bias(self, told: Told, n_frames: int) -> Float[Array, "b t l"]:
        cost = relay_penalty(told.intervals, n_frames, self.tail, self.least)
        bias = event_bias(cost, told.words)
        if told.padding is None:
            return bias
        return bias + padding_bias(cost, told.words, told.padding)


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


def padding_bias(
    cost: Float[Array, "b e t"], words: Bool[Array, "b e l"], padding: Float[Array, "b e"]
) -> Float[Array, "b t l"]:
    """The bias of the tokens that are of no event, where they are the padding of events' texts.

    All of them together then weigh as much as the padding that the text of a frame has where it is
    alone: of texts that are seen at once, the mean by what they are seen with. A prompt without
    events has none.
    """
    seen = jnp.exp(-cost)
    wanted = jnp.einsum("bet,be->bt", seen, padding) / jnp.maximum(seen.sum(1), 1e-9)
    others = ~words.any(1)
    there = jnp.maximum(others.sum(1), 1)[:, None]
    lift = jnp.where(words.any((1, 2))[:, None], jnp.log(jnp.maximum(wanted, 1) / there), 0)
    return lift[..., None] * others[:, None]
