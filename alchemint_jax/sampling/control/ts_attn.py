"""TS-Attn: what happens when, told to attention where it happens, for models without event branch.

The texts of events follow the caption in one prompt, as for a relay. Where a subject is, video
attends more to its event of that time, and less to its others, by as much as logits spread there.
That is Temporal-wise Separable Attention, arXiv 2604.19473, for events that may overlap and leave
gaps, and for several subjects.

Axes: b batch, e events, t latent frames, l tokens of the prompt, s subjects.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from alchemint_jax.errors import ConfigError, StoryboardError
from alchemint_jax.models.dit import Bias
from alchemint_jax.models.dit.separated import Separated
from alchemint_jax.ops.separable import Favours
from alchemint_jax.rotary import coverage
from alchemint_jax.sampling.control.gating import Window, check_window, inside
from alchemint_jax.sampling.control.step import Moment, Steered
from alchemint_jax.sampling.control.when import given_words
from alchemint_jax.sampling.prompts import Prompts
from alchemint_jax.scene.clock import WAN_STRIDE, Clock
from alchemint_jax.scene.scene import Scene

_PART = 1e-2
"""Of a latent frame; less of it is a rounding error."""


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["tokens"],
    meta_fields=["words", "steps", "stride"],
)
@dataclasses.dataclass(frozen=True)
class TSAttn:
    """Times the events of scenes on models that were never trained with any, where subjects are.

    It acts in every second layer, those of odd numbers counted from 0, and in the passes of
    guidance that have the prompt.

    Attributes:
        words: of the prompt, what events happen to; None is the word of each subject.
        steps: in which share of the steps, counted from the noise. The authors have 0.2 for text
            alone, and 0.5 where a picture is continued.
        stride: pixel frames per latent frame of the autoencoder.
        tokens: the words of a batch [b s l], once they are found in its prompts.

    Raises:
        ConfigError: `steps` are no such share.

    Examples:
        >>> from alchemint_jax.sampling.control import TSAttn
        >>> TSAttn(("cat",)).steps
        (0.0, 0.2)

    Source:
        TS-Attn, arXiv 2604.19473; the numbers are those of its released code.
    """

    words: Sequence[str] | None = None
    steps: Window = (0.0, 0.2)
    stride: int = dataclasses.field(default=WAN_STRIDE, repr=False)
    tokens: Any = dataclasses.field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.words is not None:
            object.__setattr__(self, "words", tuple(self.words))
        check_window("TSAttn: steps", self.steps)

    @classmethod
    def of(cls, given: Sequence[str | bool] | None) -> TSAttn | None:
        """What `--ts-attn` asks for: words, True for those of the subjects."""
        if given is None:
            return None
        return cls(given_words("ts-attn: give either words, or nothing", given) or None)

    def settings(self) -> dict[str, Any]:
        """The fields that are not found from a batch, as plain values."""
        return {"words": self.words, "steps": self.steps}

    def told(self, prompts: Prompts, scenes: Sequence[Scene], clock: Clock) -> TSAttn:
        """The control of a batch, whose words are found in its prompts.

        Raises:
            StoryboardError: a scene has events, but its prompt none of the words.
        """
        own = [[one.word for one in scene.subjects] for scene in scenes]
        wanted = own if self.words is None else [list(self.words)] * len(scenes)
        found = prompts.words(wanted, max(1, *map(len, wanted)))
        for scene, there in zip(scenes, np.asarray(found.any((1, 2))), strict=True):
            if scene.events and not there:
                raise StoryboardError(
                    f"{scene.id}: ts-attn: neither the prompt nor the events name what they happen "
                    "to; name a word of theirs: --ts-attn WORD"
                )
        stride = int(clock.stride)
        return dataclasses.replace(self, words=None, stride=stride, tokens=jax.device_put(found))

    def __call__(self, moment: Moment, latents: Float[Array, "b t h w c"]) -> Steered:
        """See `Control`; the latents stay where they are."""
        told, tokens = moment.conditions.told, self.tokens
        if told is None:
            return Steered(latents)
        if tokens is None and self.words is None:
            tokens = moment.conditions.words
        if tokens is None:
            raise ConfigError("TSAttn: its words are not found yet: see `TSAttn.told`")
        clock = Clock.for_latents(latents.shape[1], self.stride)
        active = (coverage(told.intervals, clock) > _PART).astype(jnp.float32)
        events, subjects = told.words.astype(jnp.float32), tokens.astype(jnp.float32)
        favours = favoured(active, events, subjects)
        now = inside(moment.step, moment.steps, self.steps) * events.any((1, 2))
        favours = favours._replace(subjects=subjects * now[:, None, None])
        odd = (jnp.arange(moment.layers) % 2).astype(jnp.float32)
        return Steered(latents, Bias(separated=Separated(favours, odd)))


def favoured(
    active: Float[Array, "b e t"], events: Float[Array, "b e l"], subjects: Float[Array, "b s l"]
) -> Favours:
    """Which tokens gain and lose where each subject is.

    The events of a subject are those that name it, and those that name no subject. Their tokens
    gain while they happen, and lose at other times. So does a word in the text of an event; a
    subject's word elsewhere always gains.
    """
    named = (jnp.einsum("bsl,bel->bse", subjects, events) > 0).astype(events.dtype)
    about = jnp.maximum(named, 1 - named.max(1, keepdims=True))
    lifted = jnp.einsum("bse,bet,bel->bstl", about, active, events)
    lowered = jnp.einsum("bse,bet,bel->bstl", about, 1 - active, events)
    own = subjects * (1 - events.max(1, keepdims=True))
    return Favours(subjects, lifted + own[:, :, None], lowered)
