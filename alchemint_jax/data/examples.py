"""Scenes on disk: the fields of a record that say who is on screen when, written and read here.

A record holds `caption`, `words` and `n_subjects`, `intervals` int32 [r m 2] in pixel frames,
(0, 0) where a row is not used, `fps` and `index`; where a dataset has events also `events` and
`event_intervals` int32 [e 2]; where it has cuts also `cuts` int32 [c], the pixel frames that begin
another shot, 0 where a row is not used. Those of clips and those of encoded datasets have the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from alchemint_jax.scene.clock import Clock
from alchemint_jax.scene.packing import pack_cuts, pad_spans
from alchemint_jax.scene.scene import Event, Scene, Subject
from alchemint_jax.scene.spans import Spans


def scene_fields(
    scene: Scene,
    index: int,
    slots: int,
    spans: int,
    events: int | None = None,
    cuts: int | None = None,
) -> dict[str, Any]:
    """The fields of a record.

    Args:
        scene: to be written.
        index: the number of the record.
        slots: subjects that a record has room for.
        spans: rows of intervals that each of them has.
        events: events that a record has room for; None where a dataset has none.
        cuts: cuts that a record has room for; None where a dataset has none.
    """
    subjects = scene.subjects
    fields: dict[str, Any] = {
        "caption": scene.caption,
        "words": padded([subject.word for subject in subjects], slots),
        "n_subjects": len(subjects),
        "intervals": pad_spans([subject.spans for subject in subjects], slots, spans),
        "index": index,
        "fps": float(scene.clock.fps),
    }
    if events is not None:
        fields |= {
            "events": padded([event.text for event in scene.events], events),
            "event_intervals": pad_spans([e.spans for e in scene.events], events, 1)[:, 0],
        }
    if cuts is not None:
        fields["cuts"] = pack_cuts([scene], cuts).at[0]
    return fields


def kept_fields(record: Mapping[str, Any]) -> dict[str, Any]:
    """The same fields of a record that was read, as they are written to another one."""
    kept = {
        "caption": record["caption"],
        "words": list(record["words"]),
        "n_subjects": int(record["n_subjects"]),
        "intervals": np.asarray(record["intervals"], np.int32),
        "index": int(record["index"]),
        "fps": float(record["fps"]),
    }
    if "events" in record:
        kept |= {
            "events": list(record["events"]),
            "event_intervals": np.asarray(record["event_intervals"], np.int32),
        }
    if "cuts" in record:
        kept["cuts"] = np.asarray(record["cuts"], np.int32)
    return kept


def padded(texts: Sequence[str], rows: int) -> list[str]:
    """Texts, and empty ones to so many rows."""
    return [*texts, *[""] * (rows - len(texts))]


def read_scene(record: Mapping[str, Any], clock: Clock) -> Scene:
    """The scene of a record; pictures are its `references`, pixels or latents [r v h w c]."""
    slots = range(int(record["n_subjects"]))
    words, times, pictures = record["words"], record["intervals"].tolist(), record["references"]
    happens = zip(record.get("events", ()), record.get("event_intervals", ()), strict=True)
    return Scene(
        id=f"clip {int(record['index'])}",
        caption=record["caption"],
        clock=clock,
        subjects=tuple([Subject(words[i], Spans(times[i]), pictures[i]) for i in slots]),
        events=tuple(Event(text, Spans([span])) for text, span in happens if span[1] > span[0]),
        cuts=tuple(int(at) for at in record.get("cuts", ()) if at > 0),
    )
