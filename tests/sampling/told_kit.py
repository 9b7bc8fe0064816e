"""Scenes whose events are told in the prompt of a tiny model."""

from __future__ import annotations

from pathlib import Path

from alchemint_jax.scene import Clock, Event, Scene, Spans

BASE = Path(__file__).parents[1] / "goldens" / "pipeline" / "t2v"
CLOCK = Clock(16.0, 9, 4)


def scene(*events, caption="a red disc"):
    said = tuple(Event(text, Spans(spans)) for text, *spans in events)
    return Scene("clip", caption, CLOCK, events=said, size=(32, 48))
