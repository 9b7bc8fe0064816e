"""Gating: who is on screen when, told to attention while sampling, without training.

A reference that the video cannot see outside of its intervals is a timed reference. So is a word of
the caption. Gating adds a bias to the logits of attention, from each latent frame to each subject
and to the tokens of the subject's word, in every pass of guidance. What subjects see of the video
stays: they know themselves by it, and lose identity without.

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

EDGE = 10.0
"""Of the gate where a model does not know time: a subject has nine tenths of attention."""

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
        edge: how late the gate opens where a latent frame is in an interval in part, from 0, at
            once, to 1000, when it is there as a whole (see `gate_bias`). None is 10 and, in a
            `Pipeline` of a model that was trained to know time, 0: it has edges of its own.
        steps: of which share of the steps, counted from the noise.
        layers: of which share of the layers, counted from the first.
        words: whether the subject's word in the caption is gated, too.
        lift: how much is added to logits while a subject is on screen. Where subjects came and went
            in what a model was trained on, it may leave them out while the gate is open; 2 brings
            them back.
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
    edge: float | int | None = None
    steps: Window = (0.0, 1.0)
    layers: Window = (0.0, 1.0)
    words: bool = True
    lift: float | int = 0.0
    stride: int = dataclasses.field(default=WAN_STRIDE, repr=False)

    def __post_init__(self) -> None:
        if not 0 <= self.strength <= -HIDDEN:
            raise ConfigError(f"Gating: strength = {self.strength}: must be from 0 to {-HIDDEN:g}")
        if self.edge is not None and not 0 <= self.edge <= 1000:
            raise ConfigError(f"Gating: edge = {self.edge}: must be from 0 to 1000")
        if not 0 <= self.lift <= 10:
            raise ConfigError(f"Gating: lift = {self.lift}: must be from 0 to 10")
        for name in ("steps", "layers"):
            check_window(f"Gating: {name}", getattr(self, name))
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
        edge = EDGE if self.edge is None else self.edge
        covered = coverage(given.intervals, clock)
        gate = gate_bias(covered, edge, self.strength)
        if self.lift:
            gate = gate + self.lift * covered
        if self.steps != (0, 1):
            gate = gate * inside(moment.step, moment.steps, self.steps)
        words = None
        if self.words and given.words is not None:
            words = word_bias(gate, given.words)
        layers = None
        if self.layers != (0, 1):
            layers = inside(jnp.arange(moment.layers), moment.layers, self.layers)
        # On a canvas, pictures are no references, and words alone can be gated.
        seen = gate.swapaxes(1, 2) if given.references.shape[1] else None
        if seen is None and words is None:
            raise ConfigError("Gating: words is False: pictures on a canvas cannot be gated")
        return Steered(latents, Bias(seen, None, words, layers))


def gate_bias(
    covered: Float[Array, "*batch t"], edge: float | int, strength: float | int
) -> Float[Array, "*batch t"]:
    """The bias under which attention follows the share of each latent frame that is covered.

    Where a subject has p of attention, a bias b leaves it `m = p e^b / (1 - p + p e^b)`. The b from
    -strength to 0 that minimises `sum_t (m(t) - p covered(t))**2` is

        b = max(log(covered / (covered + edge (1 - covered))), -strength),  edge = 1 / (1 - p)

    and with it m is p covered exactly, but where the gate is not that deep. What is covered whole
    has no bias, and what is not covered the deepest one. An edge of 1 makes b the logarithm of the
    share. The larger it is, the more of a frame has to be covered for the gate to open: among many
    keys of a subject, a little less of each changes nothing. An edge of 0, which is no such fit,
    leaves frames open that are covered in part.
    """
    share = covered / jnp.where(covered > 0, covered + edge * (1 - covered), 1)
    bias = jnp.maximum(jnp.log(jnp.where(share > 0, share, 1)), -strength)
    return jnp.where(share > 0, bias, -strength)


def word_bias(gate: Float[Array, "b r t"], words: Bool[Array, "b r l"]) -> Float[Array, "b t l"]:
    """The bias of each token of the caption: that of its subject; of several, the highest.

    So a word that two subjects share is there while one of them is. Other tokens have none.
    """
    tokens = jnp.where(words[:, :, None], gate[..., None], HIDDEN).max(1, initial=HIDDEN)
    return jnp.where(words.any(1)[:, None], tokens, 0)


def check_window(name: str, window: Window) -> None:
    """Raises a ConfigError, which begins with `name`, unless these are two shares."""
    if len(window) != 2 or not 0 <= window[0] < window[1] <= 1:
        raise ConfigError(f"{name} = {window}: must be two shares, 0 <= start < end <= 1")


def inside(
    number: Array | np.ndarray, of: Array | int, window: Window
) -> Float[Array | np.ndarray, "*parts"]:
    """1 where the middle of the so-manieth of `of` parts lies in a window of shares, else 0."""
    share = (number + 0.5) / of
    return ((share >= window[0]) & (share < window[1])).astype(np.float32)
