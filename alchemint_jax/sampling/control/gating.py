"""Gating: who is on screen when, told to attention while sampling, without training.

A reference that the video cannot see outside of its intervals is a timed reference. So is a word of
the caption. Gating adds a bias to the logits of attention, from each latent frame to each subject
and back, and to the tokens of the subject's word, in every pass of guidance.

Axes: b batch, r reference slots, m intervals, t latent frames, l caption tokens.
"""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from alchemint_jax.errors import ConfigError
from alchemint_jax.models.dit import Bias
from alchemint_jax.ops.bias import HIDDEN
from alchemint_jax.rotary import coverage
from alchemint_jax.sampling.control.step import Moment, Steered
from alchemint_jax.scene.clock import WAN_STRIDE, Clock

Window = tuple[float | int, float | int]
"""From one share of a whole, to another: [start, end) of 0 to 1."""


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True)
class Gating:
    """Times the subjects of any model that takes references, trained to know time or not.

    Attributes:
        strength: how deep the gate is at the most, in units of logits: where a subject is off
            screen, attention to it has odds `exp(-strength)` times as large. 0 does nothing, 1024
            hides it altogether.
        edge: how softly it opens and closes (see `open_share`); 0 is as sharp as latent frames are.
        steps: of which share of the steps, counted from the noise.
        layers: of which share of the layers, counted from the first.
        words: whether the subject's word in the caption is gated, too.
        stride: pixel frames per latent frame of the autoencoder.

    Raises:
        ConfigError: a field is not in its range.

    Examples:
        >>> from alchemint_jax.sampling.control import Gating
        >>> Gating().strength, Gating(8.0, steps=(0, 0.5)).steps
        (30.0, (0, 0.5))

    Source:
        This repository. Penalties of logits that time texts are those of Prompt Relay, arXiv
        2604.10030.
    """

    strength: float | int = 30.0
    edge: float | int = 0.0
    steps: Window = (0.0, 1.0)
    layers: Window = (0.0, 1.0)
    words: bool = True
    stride: int = dataclasses.field(default=WAN_STRIDE, repr=False)

    def __post_init__(self) -> None:
        if not 0 <= self.strength <= -HIDDEN:
            raise ConfigError(f"Gating: strength = {self.strength}: must be from 0 to {-HIDDEN:g}")
        if not 0 <= self.edge <= 100:
            raise ConfigError(f"Gating: edge = {self.edge}: must be from 0 to 100")
        for name in ("steps", "layers"):
            window = getattr(self, name)
            if len(window) != 2 or not 0 <= window[0] < window[1] <= 1:
                raise ConfigError(
                    f"Gating: {name} = {window}: must be two shares, 0 <= start < end <= 1"
                )
        if self.stride < 1:
            raise ConfigError(f"Gating: stride = {self.stride}: must be at least 1")

    @classmethod
    def of(cls, given: float | int | bool | None) -> Gating | None:
        """What `--gating` asks for: a strength, True for the usual one, or None for none."""
        if given is None:
            return None
        return cls() if given is True else cls(given)

    def __call__(self, moment: Moment, latents: Float[Array, "b t h w c"]) -> Steered:
        """See `Control`; the latents stay where they are."""
        if not self.strength:
            return Steered(latents)
        given = moment.conditions
        clock = Clock.for_latents(latents.shape[1], self.stride)
        gate = gate_bias(open_share(coverage(given.intervals, clock), self.edge), self.strength)
        if self.steps != (0, 1):
            gate = gate * inside(moment.step, moment.steps, self.steps)
        words = None
        if self.words and given.words is not None:
            words = word_bias(gate, given.words)
        layers = None
        if self.layers != (0, 1):
            layers = inside(jnp.arange(moment.layers), moment.layers, self.layers)
        return Steered(latents, Bias(gate.swapaxes(1, 2), gate, words, layers))


def open_share(covered: Float[Array, "*batch t"], edge: float | int) -> Float[Array, "*batch t"]:
    """How far the gate is open at each latent frame, from 0 to 1.

    It is the g that minimises `sum_t (g(t) - covered(t))**2 + edge sum_t (g(t+1) - g(t))**2`: as
    close to the share of a frame that lies in the interval as it can be without a jump. What is on
    screen all the time, or never, stays so. Outside of an interval g falls by the same factor from
    frame to frame, so that its logarithm is a slope.
    """
    if not edge:
        return covered
    return jnp.einsum("...t,st->...s", covered, _smoothing(covered.shape[-1], edge))


def _smoothing(t: int, edge: float | int) -> Float[np.ndarray, "t t"]:
    """The closed form of the minimum: a constant matrix for a length."""
    jumps = np.diff(np.eye(t), axis=0)
    matrix = np.linalg.inv(np.eye(t) + edge * jumps.T @ jumps)
    return np.maximum(matrix, 0).astype(np.float32)  # it has no negative entries but by rounding


def gate_bias(share: Float[Array, "*batch t"], strength: float | int) -> Float[Array, "*batch t"]:
    """The bias that multiplies the odds of attention by `share`, or by `exp(-strength)` if that is
    more.

    A key whose logit is raised by log s counts s times.
    """
    deep = jnp.maximum(jnp.log(jnp.where(share > 0, share, 1)), -strength)
    return jnp.where(share > 0, deep, -strength)


def word_bias(gate: Float[Array, "b r t"], words: Bool[Array, "b r l"]) -> Float[Array, "b t l"]:
    """The bias of each token of the caption: that of its subject; of several, the highest.

    So a word that two subjects share is there while one of them is. Other tokens have none.
    """
    tokens = jnp.where(words[:, :, None], gate[..., None], HIDDEN).max(1, initial=HIDDEN)
    return jnp.where(words.any(1)[:, None], tokens, 0)


def inside(number: Array, of: Array | int, window: Window) -> Float[Array, ...]:
    """1 where the middle of the so-manieth of `of` parts lies in a window of shares, else 0."""
    share = (number + 0.5) / of
    return ((share >= window[0]) & (share < window[1])).astype(jnp.float32)
