"""Who is on screen when: the one immutable type that says so, its clock, and its way into arrays.

Everything that knows a clip makes a `Scene` (a storyboard file, the sprites world, a benchmark, a
record on disk), and everything that needs one takes it (generation, training, evaluation,
pictures for people). A `Clock` converts time, and `pack` turns scenes into padded arrays.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from alchemint_jax.scene.clock import Clock
    from alchemint_jax.scene.limits import Limits
    from alchemint_jax.scene.packing import pack, pack_events
    from alchemint_jax.scene.scene import Event, Scene, Subject
    from alchemint_jax.scene.spans import Spans
    from alchemint_jax.scene.storyboard import Storyboard

_HOMES = {
    "Clock": "clock",
    "Event": "scene",
    "Limits": "limits",
    "Scene": "scene",
    "Spans": "spans",
    "Storyboard": "storyboard",
    "Subject": "scene",
    "pack": "packing",
    "pack_events": "packing",
}

__all__ = [
    "Clock",
    "Event",
    "Limits",
    "Scene",
    "Spans",
    "Storyboard",
    "Subject",
    "pack",
    "pack_events",
]


def __getattr__(name: str) -> Any:
    """Loads public names on first use: spans and clocks need no picture libraries."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
