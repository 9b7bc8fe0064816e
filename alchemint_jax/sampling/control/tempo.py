"""TempoControl: words are seen when a curve says so, by moving the latents, without training.

At some steps the latents are optimised so that the attention that each frame gives to a word
follows the word's curve over time (arXiv 2510.02226). Nothing is learnt and no weight changes. The
map of all heads, places and tokens is never formed: a `Probe` has the probability of each word.

Axes: b batch, g words, l tokens of the prompt, t latent frames, h w latent grid, c channels.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from einops import rearrange
from jaxtyping import Array, Bool, Float

from alchemint_jax.errors import ConfigError, StoryboardError
from alchemint_jax.models.dit import Probe
from alchemint_jax.rotary import coverage
from alchemint_jax.sampling.control.gating import Window, check_window, inside
from alchemint_jax.sampling.control.step import Moment, Steered
from alchemint_jax.sampling.control.tempo_losses import TRIM, Terms, kept, spread, tempo_terms
from alchemint_jax.sampling.control.when import When, given_words, parse_when
from alchemint_jax.sampling.prompts import Prompts
from alchemint_jax.scene.clock import WAN_STRIDE, Clock
from alchemint_jax.scene.scene import Scene

ORDERS = ("paper", "released")
SIGNALS = ("mean", "spread")


class Followed(NamedTuple):
    """The words of a batch; one without tokens counts for nothing."""

    tokens: jax.Array
    """Which tokens of the prompt are of each word [b g l]."""
    curves: jax.Array
    """When each word is to be seen, from 0 to 1 [b g t]."""


_DATA = ("followed", "before")
_FIELDS = (
    *("words", "steps", "iterations", "rate", "magnitude", "entropy", "enough", "threshold"),
    *("order", "trim", "layers", "signal", "stride"),
)


@partial(jax.tree_util.register_dataclass, data_fields=_DATA, meta_fields=_FIELDS)
@dataclasses.dataclass(frozen=True)
class TempoControl:
    """Times words of the prompt, of any model, by where attention to them goes.

    What is minimised is the mean over words of `-correlation + magnitude * M + entropy * H`: see
    `tempo_losses`. Each step starts a new AdamW on its latents.

    Attributes:
        words: which words of the prompt, and when; None is the word of each subject, while that is
            on screen.
        steps: in which share of the steps, counted from the noise.
        iterations: of AdamW in each of them, at the most.
        rate: of AdamW: how far an iteration moves each number of the latents.
        magnitude: weight of the attention that there is while a word is off, less that while it
            is on, summed over the places of a frame.
        entropy: weight of the entropy of where a frame attends to a word that is on, in nats.
        enough: a video is left as it is once the correlation of each of its words is above; words
            whose curve never changes do not count.
        threshold: a word is on where its curve is above.
        order: "paper" optimises the latents of a step before the step, at their own time;
            "released", as the authors' code does, the latents that a step has made, at the time
            that it started from.
        trim: latent frames at each end that the correlation leaves out.
        layers: whose attention is read: in which share of the layers, counted from the first. In
            small models that of some layers falls where a word is drawn.
        signal: what follows the curve. "mean", as the paper has it, is how much a frame attends to
            the word; "spread" how far its places differ in that, head by head: a small model may
            tell a subject's place in this way, and attend as much to the word where there is none.
        stride: pixel frames per latent frame of the autoencoder.
        followed: the words of a batch, once they are found in its prompts.
        before: the time of the step before.

    Raises:
        ConfigError: a field is not in its range.

    Examples:
        >>> from alchemint_jax.sampling.control import TempoControl, When
        >>> TempoControl().iterations
        10
        >>> TempoControl((When("star", seconds=((0.5, 2.0),)),)).words[0].seconds
        ((0.5, 2.0),)

    Source:
        TempoControl, arXiv 2510.02226; numbers are those of its released code for one object. The
        signal "spread" is of this repository.
    """

    words: Sequence[When] | None = None
    steps: Window = (0.0, 0.22)
    iterations: int = 10
    rate: float | int = 5e-4
    magnitude: float | int = 0.3
    entropy: float | int = 10.0
    enough: float | int = 0.9
    threshold: float | int = 0.7
    order: str = "paper"
    trim: int = TRIM
    layers: Window = (0.0, 1.0)
    signal: str = "mean"
    stride: int = dataclasses.field(default=WAN_STRIDE, repr=False)
    followed: Any = dataclasses.field(default=None, repr=False)
    before: Any = dataclasses.field(default_factory=lambda: np.float32(0), repr=False)

    def __post_init__(self) -> None:
        if self.words is not None:
            object.__setattr__(self, "words", tuple(self.words))
        for name, known in (("order", ORDERS), ("signal", SIGNALS)):
            if getattr(self, name) not in known:
                raise ConfigError(
                    f"TempoControl: {name} is {getattr(self, name)!r}; use {' or '.join(known)}"
                )
        for name in ("steps", "layers"):
            check_window(f"TempoControl: {name}", getattr(self, name))
        ranges = {
            **{"iterations": (1, 1000), "rate": (0, 10), "magnitude": (0, 1e4)},
            **{"entropy": (0, 1e4), "enough": (-1, 2), "threshold": (0, 1), "trim": (0, 1000)},
            "stride": (1, 1000),
        }
        for name, (low, high) in ranges.items():
            if not low <= getattr(self, name) <= high:
                raise ConfigError(
                    f"TempoControl: {name} = {getattr(self, name)}: must be from {low} to {high:g}"
                )

    @classmethod
    def of(
        cls,
        given: Sequence[str | bool] | None,
        layers: Window | None = None,
        signal: str | None = None,
    ) -> TempoControl | None:
        """What `--tempo` asks for: words with their times, True for those of the subjects.

        `--tempo-layers` and `--tempo-signal` are beside it; None is the usual.

        Raises:
            ConfigError: these are there without it, or what is given cannot be read.
        """
        said: dict[str, Any] = {"layers": layers, "signal": signal}
        more = {name: value for name, value in said.items() if value is not None}
        if given is None:
            if more:
                raise ConfigError(f"--tempo-{next(iter(more))} is of --tempo; give that too")
            return None
        words = given_words("tempo: give either words with their times, or nothing", given)
        return cls(tuple(map(parse_when, words)) or None, **more)

    def settings(self) -> dict[str, Any]:
        """The fields that are not found from a batch, as plain values."""
        fields = dataclasses.asdict(self)
        return {name: fields[name] for name in _FIELDS}

    def told(self, prompts: Prompts, scenes: Sequence[Scene], clock: Clock) -> TempoControl:
        """The control of a batch, whose words are found in its prompts.

        Raises:
            StoryboardError: a prompt has none of the words, or does not have one that was given.
            ConfigError: the sound that a word follows cannot be read.
        """
        if self.words is None:
            wanted = [[When(s.word) for s in scene.subjects if s.word] for scene in scenes]
        else:
            wanted = [list(self.words)] * len(scenes)
        most = max(1, *map(len, wanted))
        tokens = prompts.words([[one.word for one in own] for own in wanted], most)
        curves = np.zeros((len(scenes), most, clock.latent_frames), np.float32)
        for row, scene, own in zip(curves, scenes, wanted, strict=True):
            for number, one in enumerate(own):
                row[number] = one.over(scene, clock)
        for scene, own, found in zip(scenes, wanted, np.asarray(tokens.any(-1)), strict=True):
            lost = [one.word for one, there in zip(own, found, strict=False) if not there]
            if not own or lost and (self.words is not None or not found.any()):
                raise StoryboardError(
                    f"{scene.id}: tempo: the prompt does not have {lost[0]!r}"
                    if lost
                    else f"{scene.id}: tempo: has no subjects; say which words, and when"
                )
        followed = Followed(jnp.asarray(tokens), jnp.asarray(curves))
        return dataclasses.replace(self, words=None, followed=followed)

    def __call__(self, moment: Moment, latents: Float[Array, "b t h w c"]) -> Steered:
        """See `Control`; it moves latents and biases nothing."""
        followed = self.followed or self._of_subjects(moment, latents.shape[1])
        step, time = moment.step, moment.time
        if self.order == "released":
            step, time = step - 1, jnp.asarray(self.before, jnp.float32)
        layers = self._read(moment.layers)
        now = jnp.asarray(inside(step, moment.steps, self.steps), jnp.int32)
        rounds = self.iterations * now

        def look(z: jax.Array) -> Terms:
            """Of each word; its attention is the mean over its tokens, heads and these layers."""
            tokens = followed.tokens.astype(jnp.float32)
            tokens = tokens / jnp.maximum(tokens.sum(-1, keepdims=True), 1)
            apart = self.signal == "spread"
            probe = Probe(tokens, subjects=False, layers=layers, heads=apart)
            seen = moment.look(z, probe, time=time)
            assert seen.words is not None
            maps = rearrange(seen.words, "l b k t h w g -> (l k) b g t (h w)")
            signal = spread(maps).mean(0) if apart else None
            return tempo_terms(maps.mean(0), followed.curves, self.threshold, self.trim, signal)

        there = followed.tokens.any(-1)
        changes = jnp.ptp(kept(followed.curves, self.trim), axis=-1) > 0
        import optax  # which no other way of sampling needs, and every start would wait for

        objective = partial(self._objective, look, there, there & changes)
        moved = optimised(objective, latents, optax.adamw(self.rate, weight_decay=0.01), rounds)
        after = None
        if self.order == "released":
            after = dataclasses.replace(self, before=jnp.asarray(moment.time, jnp.float32))
        return Steered(moved, control=after)

    def _read(self, layers: int) -> tuple[int, ...]:
        """The layers whose attention is read, of so many.

        Raises:
            ConfigError: there are none.
        """
        read = np.flatnonzero(inside(np.arange(layers), layers, self.layers)).tolist()
        if not read:
            raise ConfigError(
                f"TempoControl: layers = {self.layers}: holds the middle of none of {layers} layers"
            )
        return tuple(read)

    def _of_subjects(self, moment: Moment, n_frames: int) -> Followed:
        given = moment.conditions
        if self.words is not None or given.words is None:
            raise ConfigError("TempoControl: its words are not found yet: see `TempoControl.told`")
        clock = Clock.for_latents(n_frames, self.stride)
        return Followed(given.words, coverage(given.intervals, clock))

    def _objective(
        self,
        look: Callable[[jax.Array], Terms],
        there: Bool[Array, "b g"],
        changes: Bool[Array, "b g"],
        latents: Float[Array, "b t h w c"],
    ) -> tuple[Float[Array, " b"], Bool[Array, " b"]]:
        """The loss of each video, and whether it needs no more."""
        terms = look(latents)
        loss = -terms.correlation + self.magnitude * terms.magnitude + self.entropy * terms.entropy
        loss = jnp.where(there, loss, 0).sum(-1) / jnp.maximum(there.sum(-1), 1)
        reached = jnp.where(changes, terms.correlation > self.enough, True).all(-1)
        return loss, (reached & changes.any(-1)) | ~there.any(-1)


Objective = Callable[[jax.Array], tuple[jax.Array, jax.Array]]
"""The loss of each sample of a batch, and whether that sample is done, both [b]."""


def optimised(
    objective: Objective,
    latents: Float[Array, b * rest],
    optimizer: Any,
    rounds: Array | int,
) -> Float[Array, b * rest]:
    """Latents after at most so many rounds; a sample that is done moves no more.

    The loop ends as soon as all are done. Each round costs the objective and its gradient, and a
    step of the optimizer, which is one of optax.
    """

    def total(z: jax.Array) -> tuple[jax.Array, jax.Array]:
        loss, done = objective(z)
        return loss.sum(), done

    def unfinished(carry: tuple[Any, ...]) -> jax.Array:
        number, _, _, active = carry
        return (number < rounds) & active.any()

    def once(carry: tuple[Any, ...]) -> tuple[Any, ...]:
        number, z, state, active = carry
        slope, done = jax.grad(total, has_aux=True)(z)
        active = active & ~done
        updates, state = optimizer.update(slope, state, z)
        moves = active.reshape(-1, *[1] * (z.ndim - 1))
        return number + 1, jnp.where(moves, z + updates, z), state, active

    start = (jnp.int32(0), latents, optimizer.init(latents), jnp.ones(len(latents), bool))
    return jax.lax.while_loop(unfinished, once, start)[1]
