"""A line of scenes.jsonl as a scene: what `alchemint annotate` says of a clip.

    {"id": "dog-000123", "source": "dog.mp4", "start_frame": 123, "fps": 30.0, "frames": 181,
     "size": [480, 832], "caption": "a dog runs past a woman",
     "subjects": [{"word": "dog", "category": "dog", "score": 0.9, "track": 1,
                   "appears": [[0.5, 2.0]], "frames": [[15, 60]], "pictures": ["a.png"]}],
     "events": [{"text": "the dog jumps", "during": [1.0, 1.5]}], "cuts": [3.2],
     "dropped": [{"word": "legs", "reason": "part of a body"}]}

Frames are half-open pixel frames of this scene, and are what counts; seconds are for people, and
are read where there are no frames. Cuts are the seconds at which another shot begins.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from alchemint_jax.errors import DataError
from alchemint_jax.scene.clock import Clock
from alchemint_jax.scene.scene import Event, Scene, Subject
from alchemint_jax.scene.spans import Spans


def read_line(line: Mapping[str, Any], stride: int = 1) -> Scene:
    """The scene that a line describes, without pictures.

    Args:
        line: read from JSON.
        stride: pixel frames in a latent frame of the autoencoder that it is for.

    Raises:
        DataError: a field is missing or makes no sense, or spans reach outside of the clip.
    """
    name = str(line.get("id", "a scene without an id"))
    try:
        clock = Clock(line["fps"], line["frames"], stride)
        height, width = line["size"]
        subjects = tuple(
            Subject(str(one["word"]), _spans(one, "appears", clock)) for one in line["subjects"]
        )
        events = tuple(
            Event(str(one["text"]), _spans(one, "during", clock)) for one in line.get("events", ())
        )
        caption = str(line.get("caption") or "")
        cuts = tuple(sorted({clock.frame(second) for second in line.get("cuts", ())}))
        if cuts and not 0 < cuts[0] <= cuts[-1] < clock.frames:
            raise ValueError(f"cuts {line['cuts']} are not between frames of the clip")
    except KeyError as error:
        raise DataError(f"{name}: the field {error} is missing; annotate it again") from error
    except (TypeError, ValueError) as error:
        raise DataError(f"{name}: {error}; annotate it again") from error
    return Scene(name, caption, clock, subjects, events, size=(int(height), int(width)), cuts=cuts)


def _spans(entry: Mapping[str, Any], seconds: str, clock: Clock) -> Spans:
    if "frames" not in entry:
        return clock.spans(_rows(entry[seconds]))
    spans = Spans(_rows(entry["frames"]))
    for start, end in spans:
        if start < 0 or end > clock.frames:
            raise ValueError(
                f"frames [{start}, {end}) reach outside of a clip of {clock.frames} frames"
            )
    return spans


def _rows(value: Any) -> list[tuple[Any, Any]]:
    """Rows of pairs; an event may have one pair by itself."""
    rows = [value] if len(value) == 2 and not hasattr(value[0], "__len__") else value
    return [(start, end) for start, end in rows]
