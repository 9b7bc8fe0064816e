"""From scenes to what the transformer is conditioned on: texts, pictures and intervals, encoded."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import jax
import numpy as np
from jaxtyping import Bool

from alchemint_jax.errors import StoryboardError
from alchemint_jax.models.dit.conditioning import Conditions, Events, Told
from alchemint_jax.sampling.control import Relay
from alchemint_jax.sampling.keyframes import with_keyframes
from alchemint_jax.sampling.parts import Parts
from alchemint_jax.sampling.prompts import Prompts, whole_text
from alchemint_jax.sampling.sample import encode_references
from alchemint_jax.scene.clock import Clock
from alchemint_jax.scene.packing import pack, pack_cuts, pack_events, pad_spans
from alchemint_jax.scene.scene import Scene
from alchemint_jax.scene.spans import Spans


def common_shape(parts: Parts, scenes: Sequence[Scene]) -> tuple[tuple[int, int], Clock]:
    """Size and clock of all scenes; latent frames are those of this model's autoencoder.

    Raises:
        StoryboardError: naming two scenes that differ in size or length.
    """
    sizes = [scene.size or parts.settings.size for scene in scenes]
    for scene, size in zip(scenes, sizes, strict=True):
        if (size, scene.clock.frames) != (sizes[0], scenes[0].clock.frames):
            raise StoryboardError(
                f"{scene.id}: has another size or length than {scenes[0].id}, and both cannot "
                "be rendered together; render them one by one"
            )
    clock = dataclasses.replace(scenes[0].clock, stride=parts.limits.stride)
    return sizes[0], clock


def latent_shape(parts: Parts, scenes: Sequence[Scene]) -> tuple[int, int, int, int]:
    """Frames, height, width and channels of the latents of each scene.

    Raises:
        StoryboardError: see `common_shape`.
    """
    size, clock = common_shape(parts, scenes)
    vae = parts.models.vae.config
    height, width = (side // vae.spatial_stride for side in size)
    return clock.latent_frames, height, width, vae.z_dim


def encode_conditions(
    parts: Parts,
    scenes: Sequence[Scene],
    negative_prompt: str | None = None,
    slots: int | None = None,
) -> Conditions:
    """What the transformer is conditioned on; the arguments are those of `Pipeline.conditions`."""
    size, clock = common_shape(parts, scenes)
    if negative_prompt is None:
        negative_prompt = parts.settings.negative_prompt
    config = parts.settings
    count = slots_for(parts, scenes) if slots is None else slots
    reference_size = config.reference_size or size
    packed = pack(scenes, count)
    blank = np.full((*reference_size, 3), 255, np.uint8)
    if parts.canvas:  # which the pictures are on, and no references
        images = np.zeros((len(scenes), 0, *blank.shape), np.uint8)
    else:
        images = packed.fill(lambda subject: subject.picture(reference_size), blank)
    read, told = prompts(parts, scenes, clock)
    away, timed = _negative(parts, scenes, clock, negative_prompt, read.copies)
    told = None if told is None else told._replace(null=timed)
    (text, _), (null, _), (tag, mask) = parts.texts.states(
        (read.flat, config.text_length),
        (away.flat, config.text_length),
        ([word for scene in packed.words for word in scene], config.tag_length),
    )
    tag, mask = (x.reshape(*packed.used.shape, *x.shape[1:]) for x in (tag, mask))
    conditions = Conditions(
        text=read.laid(text),
        null_text=away.laid(null),
        references=encode_references(parts.models.vae_params, images, vae=parts.models.vae),
        # `device_put` alone compiles nothing; `jnp.asarray` does, for every shape.
        used=jax.device_put(packed.used),
        intervals=jax.device_put(clock.latent(packed.intervals)),
        tags=tag,
        tag_mask=jax.device_put(np.asarray(mask) & packed.used[..., None]),
        words=jax.device_put(
            # Of subjects that are never there, too, whose slots are empty.
            read.words([[one.word for one in scene.subjects] for scene in scenes], count)
        ),
    )
    conditions = conditions._replace(told=told)
    if parts.models.dit.config.events:
        conditions = conditions._replace(events=_events(parts, scenes, clock))
    return with_keyframes(parts, conditions, scenes, size, clock)


def slots_for(parts: Parts, scenes: Sequence[Scene]) -> int:
    """As many slots as the scenes need: an empty one changes nothing, and has tokens to attend to.

    A model that has slots is given one at the least.
    """
    most = max(len(scene.subjects) for scene in scenes)
    return min(max(1, most), parts.limits.max_subjects)


def prompts(parts: Parts, scenes: Sequence[Scene], clock: Clock) -> tuple[Prompts, Told | None]:
    """What is read of each scene and, where events are told in it, where and when they are."""
    if parts.relay is not None and any(scene.events for scene in scenes):
        return (_apart if isinstance(parts.relay, Relay) else _in_one)(parts, scenes, clock)
    captions = tuple((scene.caption,) for scene in scenes)
    return Prompts(parts.texts, captions, parts.settings.text_length), None


def _apart(parts: Parts, scenes: Sequence[Scene], clock: Clock) -> tuple[Prompts, Told]:
    """Each event has a text of its own, which has the caption in it; the caption alone is for
    frames without any event.
    """
    length = parts.settings.text_length
    rows, times = [], []
    for scene in scenes:
        texts = [whole_text(scene.caption, event.text) for event in scene.events]
        rows.append((scene.caption, *texts))
        own = [event.spans for event in scene.events]
        times.append([_eventful(scene).gaps(int(clock.frames)), *own] if own else [])
    # Where guidance leads away from the caption, that and the negative prompt are read.
    read = Prompts(parts.texts, tuple(rows), length, least=2 if _contrasts(parts) else 1)
    return read, _timed(read, times, clock)


def _negative(
    parts: Parts, scenes: Sequence[Scene], clock: Clock, text: str, copies: int
) -> tuple[Prompts, Told | None]:
    """What guidance leads away from, with room for so many texts, and when it is what.

    It is the negative prompt or, where a relay contrasts the events of a scene, the caption alone
    while there is an event.
    """
    told = [_contrasts(parts) and bool(scene.events) for scene in scenes]
    rows = [(text, s.caption) if own else (text,) for s, own in zip(scenes, told, strict=True)]
    read = Prompts(parts.texts, tuple(rows), parts.settings.text_length, least=copies)
    if not any(told):
        return read, None
    busy = [_eventful(scene) for scene in scenes]
    times = [[one.gaps(int(clock.frames)), one] if one else [] for one in busy]
    return read, _timed(read, times, clock)


def _contrasts(parts: Parts) -> bool:
    return isinstance(parts.relay, Relay) and parts.relay.contrast


def _eventful(scene: Scene) -> Spans:
    """The time during which there is an event."""
    return Spans(span for event in scene.events for span in event.spans)


def _timed(read: Prompts, times: Sequence[Sequence[Spans]], clock: Clock) -> Told:
    """When each text of a scene is seen; a scene without times is seen at all of them."""
    most = max(map(len, read.rows))
    words = read.members(most) & np.array([bool(own) for own in times])[:, None, None]
    return _told(words, times, clock)._replace(padding=jax.device_put(read.padding(most)))


def _in_one(parts: Parts, scenes: Sequence[Scene], clock: Clock) -> tuple[Prompts, Told]:
    """All events of a scene follow its caption."""
    length = parts.settings.text_length
    texts = [[scene.caption, *(event.text for event in scene.events)] for scene in scenes]
    whole, words = parts.texts.join(texts, max(map(len, texts)), length)
    times = [[event.spans for event in scene.events] for scene in scenes]
    read = Prompts(parts.texts, tuple((text,) for text in whole), length)
    return read, _told(words[:, 1:], times, clock)


def _told(words: Bool[np.ndarray, "b e l"], times: Sequence[Sequence[Spans]], clock: Clock) -> Told:
    most = max([1, *(len(spans) for own in times for spans in own)])
    intervals = np.stack([pad_spans(own, words.shape[1], most) for own in times])
    return Told(jax.device_put(words), jax.device_put(clock.latent(intervals)))


def _events(parts: Parts, scenes: Sequence[Scene], clock: Clock) -> Events:
    """The events of each scene.

    A model that has events always takes some: where nothing is said, an empty text is (see
    `alchemint_jax.scene.packing`).
    """
    events = pack_events(scenes)
    length = parts.settings.event_length
    (states, _), (null, _) = parts.texts.states(
        ([text for texts in events.texts for text in texts], length),
        ([""] * len(scenes), length),
    )
    cuts = pack_cuts(scenes) if parts.models.dit.config.cuts else None
    return Events(
        states=states.reshape(*events.used.shape, *states.shape[1:]),
        used=jax.device_put(events.used),
        intervals=jax.device_put(clock.latent(events.intervals)),
        null=null,
        cuts=None if cuts is None else jax.device_put(clock.cut(cuts.at)),
        cut_used=None if cuts is None else jax.device_put(cuts.used),
    )
