"""What a video is conditioned on, and how a part of it is taken away but never the intervals.

Axes: b batch, l text tokens, r reference slots, m intervals of a subject, j tokens of a word tag, e
events, q tokens of an event's text.
"""

from __future__ import annotations

from typing import Any, NamedTuple, TypeVar, cast

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from alchemint_jax.models.umt5 import UMT5Encoder, zero_padded

T = TypeVar("T")


class Tokens(NamedTuple):
    """Token ids int32 [... l] and their mask."""

    ids: jax.Array
    mask: jax.Array


class Events(NamedTuple):
    """Dense captions of a clip, in rows that leave no gap (see `scene.packing`).

    Frames attend to the padding of a text, too, as in Wan they do to that of the caption. So all
    rows have as many tokens: otherwise a long text would outweigh the empty one of a gap, whatever
    the time.
    """

    states: jax.Array
    """Text states [b e q d], zero where padded."""
    used: jax.Array
    """Which rows are [b e]."""
    intervals: jax.Array
    """Latent intervals [b e 2]; those of rows that are not used start after they end."""
    null: jax.Array
    """States of the empty text [b q d], zero where padded."""
    cuts: jax.Array | None = None
    """Latent times at which another shot begins [b c], of models with cuts."""
    cut_used: jax.Array | None = None
    """Which of them there are [b c]."""


class Told(NamedTuple):
    """Events whose texts are in the caption, for models without an event branch."""

    words: jax.Array
    """Which tokens of the caption are of each event's text [b e l]."""
    intervals: jax.Array
    """Latent intervals [b e m 2]; rows with start > end are empty."""
    padding: jax.Array | None = None
    """Where each event has a caption of its own, and all of them follow one another: how many
    tokens of padding each of these would have alone [b e]."""
    null: Any = None
    """The same of the negative prompt, where that is timed, too: a `Told`."""


class Given(NamedTuple):
    """Latent frames of the video itself, for models that are told the time of every token."""

    latents: jax.Array
    """Clean, normalised latents [b t h w c]; of frames that are not given whatever they are."""
    frames: jax.Array
    """Which frames are given [b t]."""

    def over(self, z: Float[Array, "b t h w c"]) -> Float[Array, "b t h w c"]:
        """The sample with the given frames in their places."""
        return jnp.where(self.frames[..., None, None, None], self.latents, z)

    def still(self, v: Float[Array, "b t h w c"]) -> Float[Array, "b t h w c"]:
        """The velocity, 0 where frames are given: whatever the solver, they stay what they are."""
        return jnp.where(self.frames[..., None, None, None], 0, v)


class Conditions(NamedTuple):
    """Everything a sample is conditioned on, as arrays whose leading axis is the batch."""

    text: jax.Array
    """Caption states [b l d], zero where padded."""
    null_text: jax.Array
    """States of the empty (or negative) caption [b l d]."""
    references: jax.Array
    """Clean latents of the pictures [b r h w c]."""
    used: jax.Array
    intervals: jax.Array
    """Latent intervals [b r m 2]; rows with start > end are empty."""
    tags: jax.Array
    tag_mask: jax.Array
    condition: jax.Array | None = None
    """Known frames of the video and their mask [b t h w c], for models that continue images."""
    image: jax.Array | None = None
    """CLIP states of the given images [b p c]."""
    words: jax.Array | None = None
    """Which tokens of the caption are of each subject's word [b r l], where somebody looked."""
    events: Events | None = None
    """For models with a dense-caption branch."""
    told: Told | None = None
    """Of models without one, where a control tells events."""
    given: Given | None = None
    """Frames that the video starts from, of models that are told so by the time of their tokens."""


def encode_text(encoder: UMT5Encoder, params: dict, tokens: Tokens) -> Float[Array, "*batch l d"]:
    """Text-encoder states, zero where padded, for tokens with any leading axes."""
    *lead, length = tokens.ids.shape
    ids, mask = tokens.ids.reshape(-1, length), tokens.mask.reshape(-1, length)
    states = zero_padded(cast(jax.Array, encoder.apply({"params": params}, ids, mask)), mask)
    return states.reshape(*lead, length, states.shape[-1])


def model_inputs(
    conditions: Conditions, with_text: Bool[Array, " b"], with_images: Bool[Array, " b"]
) -> tuple[Float[Array, "b l d"], dict[str, Any]]:
    """The transformer's text and keyword arguments, some samples without captions or pictures.

    Emptying pictures zeroes reference latents and tags together, and leaves slots, masks and
    intervals as they are: the rotary gains of a null branch must be those of the full one
    (AlcheMinT, section 3). Given frames of the video stay too, as in Wan.

    The texts of events go with the caption: both are text, guidance by text is to strengthen both,
    and a branch of its own would cost every step a further pass. They, too, lose their content
    only. Their rows and intervals stay, and with them the warped times of all frames, so that
    branches differ in what is said and not in when; each row says what a gap between events says,
    the empty text, and so the branch without text is a clip without events as training knows it.
    Cuts say when and nothing else: they stay, as intervals do.
    """
    text = jnp.where(with_text[:, None, None], conditions.text, conditions.null_text)
    given = {"condition": conditions.condition, "image": conditions.image}
    extra: dict[str, Any] = {name: x for name, x in given.items() if x is not None}
    if conditions.given is not None:
        extra["given"] = conditions.given.frames
    if conditions.events is not None:
        extra |= _event_inputs(conditions.events, with_text)
    if conditions.references.shape[1] == 0:  # a model without slots
        return text, extra
    kept = with_images[:, None, None, None]
    return text, extra | {
        "references": jnp.where(kept[..., None], conditions.references, 0),
        "used": conditions.used,
        "intervals": conditions.intervals,
        "tags": jnp.where(kept, conditions.tags, 0),
        "tag_mask": conditions.tag_mask,
    }


def _event_inputs(events: Events, with_text: Bool[Array, " b"]) -> dict[str, Any]:
    kept = with_text[:, None, None, None]
    cuts = {} if events.cuts is None else {"cuts": events.cuts, "cut_used": events.cut_used}
    return cuts | {
        "events": jnp.where(kept, events.states, events.null[:, None]),
        "event_mask": jnp.broadcast_to(events.used[..., None], events.states.shape[:3]),
        "event_intervals": events.intervals,
    }


def repeat(batch: T, times: int) -> T:
    """A tree of arrays of a batch, such as `Conditions`, with the whole batch `times` over."""
    return jax.tree.map(lambda x: jnp.tile(x, (times,) + (1,) * (x.ndim - 1)), batch)
