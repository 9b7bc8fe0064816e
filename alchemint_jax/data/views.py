"""A window of a clip as pixels and fields: what is encoded, and what is written beside it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import UInt8

from alchemint_jax.data import buckets, grounds, references
from alchemint_jax.data.buckets import Bucket
from alchemint_jax.data.encoding import Encoding, Window
from alchemint_jax.data.examples import scene_fields
from alchemint_jax.data.sources import AnyClip
from alchemint_jax.data.text_states import TextRows
from alchemint_jax.errors import DataError
from alchemint_jax.scene.scene import Scene
from alchemint_jax.scene.windows import window

_NO_ROW = -1


@dataclasses.dataclass(frozen=True, eq=False)
class Made:
    """A window.

    Attributes:
        video: uint8 [f h w 3].
        references: of each subject, its pictures, uint8 [h w 3].
        fields: of the record, but for latents.
    """

    video: UInt8[np.ndarray, "f h w 3"]
    references: list[list[UInt8[np.ndarray, "h2 w2 3"]]]
    fields: dict[str, Any]


def make(
    clips: Sequence[AnyClip],
    where: Window,
    bucket: Bucket,
    encoding: Encoding,
    rows: TextRows | None,
) -> Made:
    """A window of one of the clips of a split, in the size of a bucket.

    Raises:
        DataError: the clip, or a picture of it, is damaged.
    """
    clip = clips[where.clip]
    scene = clip.scene()
    assert encoding.fps is not None and scene.size is not None
    shown = scene.clock.at_rate(encoding.fps, where.start, bucket.frames)
    part = window(scene, shown, encoding.fps)
    kept, pictures, sources, left_out = _subjects(clip, scene, part, shown, where, encoding)
    size = encoding.pictures_in(bucket)
    made: list[list[np.ndarray]] = []
    kinds: list[list[str]] = []
    for number, own in zip(kept, pictures, strict=True):
        made.append([])
        kinds.append([one.kind for one in own])
        for view, one in enumerate(own):
            try:
                rgba = one.pixels()
            except DataError as error:
                raise DataError(f"{scene.id}: subjects[{number}]: {error}") from error
            if encoding.vary:
                name = (scene.id, where.start, number, view)
                random = buckets.generator(encoding.seed, *name)
                ground = None
                if encoding.context and references.is_cut_out(rgba):
                    draw = buckets.generator(encoding.seed, *name, grounds.CONTEXT)
                    if draw.random() < encoding.context:
                        ground = grounds.ground(clips, where.clip, size, draw)
                if ground is not None:
                    kinds[-1][view] = grounds.CONTEXT
                picture = references.varied(rgba, size, encoding.variation, random, ground)
                made[-1].append(picture)
            else:
                made[-1].append(references.plain(rgba, size))
    chosen = dataclasses.replace(part, subjects=tuple(part.subjects[i] for i in kept))
    fields = _fields(chosen, where, encoding, rows)
    fields |= {
        "clip": scene.id,
        "start": where.start,
        "reference_sources": sources,
        "reference_kinds": kinds,
        "left_out": left_out,
    }
    return Made(_pixels(clip, scene, shown, bucket), made, fields)


def _subjects(
    clip: AnyClip, scene: Scene, part: Scene, shown: np.ndarray, where: Window, encoding: Encoding
) -> tuple[list[int], list[list[Any]], list[str], list[list[str]]]:
    """Who has a slot, with which pictures and from where; and who has none, and why."""
    margin = scene.clock.frame(encoding.margin)
    around = (int(shown[0]) - margin, int(shown[-1]) + 1 + margin)
    kept: list[int] = []
    pictures: list[list[Any]] = []
    sources: list[str] = []
    left_out: list[list[str]] = []
    for number, subject in enumerate(part.subjects):
        if scene.subjects[number].spans and not subject.spans:
            continue  # it is in another part of the clip
        if len(kept) == encoding.slots:
            left_out.append([subject.word, "no slot"])
            continue
        random = None
        if encoding.vary:
            random = buckets.generator(encoding.seed, scene.id, where.start, number, "pictures")
        own, source = references.choose(
            [one for one in clip.pictures if one.subject == number],
            around,
            encoding.views or 1,
            dict(encoding.kinds),
            encoding.cross,
            random,
        )
        if not own or (encoding.outside_only and source == references.INSIDE):
            reason = "no picture from outside" if own else "no picture"
            left_out.append([subject.word, reason])
            continue
        kept.append(number)
        pictures.append(own)
        sources.append(source)
    return kept, pictures, sources, left_out


def _fields(
    scene: Scene, where: Window, encoding: Encoding, rows: TextRows | None
) -> dict[str, Any]:
    slots, spans, most = encoding.slots or 1, encoding.spans or 1, encoding.events or None
    if most is not None:  # one row for each event, the longest of its spans
        events = [
            dataclasses.replace(event, spans=type(event.spans)([max(event.spans, key=_length)]))
            for event in scene.events
        ]
        scene = dataclasses.replace(scene, events=tuple(events[:most]))
    cuts = encoding.cuts or None
    if cuts is not None:
        scene = dataclasses.replace(scene, cuts=scene.cuts[:cuts])
    fields = scene_fields(scene, where.clip, slots, spans, most, cuts)
    if rows is not None:
        lengths = rows.encoder.lengths
        (fields["caption_row"],) = rows.rows([scene.caption], lengths.caption)
        words = [subject.word for subject in scene.subjects]
        fields["word_rows"] = _filled(rows.rows(words, lengths.word), slots)
        if most is not None:
            said = [event.text for event in scene.events]
            fields["event_rows"] = _filled(rows.rows(said, lengths.event), most)
    return fields


def _length(span: Any) -> int:
    return span[1] - span[0]


def _filled(rows: list[int], count: int) -> list[int]:
    return [*rows, *[_NO_ROW] * (count - len(rows))]


def _pixels(clip: AnyClip, scene: Scene, shown: np.ndarray, bucket: Bucket) -> np.ndarray:
    """The frames of a window, scaled to cover the bucket, what stands out cut off evenly."""
    assert scene.size is not None
    scaled = buckets.cover(scene.size, bucket.size)
    video = np.empty((bucket.frames, *bucket.size, 3), np.uint8)
    filled = 0
    first, last = int(shown[0]), int(shown[-1])
    for number, frame in enumerate(clip.frames(first, last + 1, scaled), first):
        while filled < len(shown) and shown[filled] == number:
            video[filled] = buckets.crop(frame, bucket.size)
            filled += 1
    if filled != len(shown):
        raise DataError(f"{scene.id}: has fewer frames than its scene says")
    return video
