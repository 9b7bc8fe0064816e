"""The sprites world: how it is drawn, written to disk, asked for in benchmarks, and measured."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from alchemint_jax.worlds.sprites.builder import open_split, write_sprites
    from alchemint_jax.worlds.sprites.cases import Case, read_benchmark, sprites_cases
    from alchemint_jax.worlds.sprites.tracker import Sighting, Tracking, kind_of, track
    from alchemint_jax.worlds.sprites.world import World, sample_clip

_HOMES = {
    **dict.fromkeys(("open_split", "write_sprites"), "builder"),
    **dict.fromkeys(("Case", "read_benchmark", "sprites_cases"), "cases"),
    **dict.fromkeys(("Sighting", "Tracking", "kind_of", "track"), "tracker"),
    **dict.fromkeys(("World", "sample_clip"), "world"),
}

__all__ = [
    "Case",
    "Sighting",
    "Tracking",
    "World",
    "kind_of",
    "open_split",
    "read_benchmark",
    "sample_clip",
    "sprites_cases",
    "track",
    "write_sprites",
]


def __getattr__(name: str) -> Any:
    """Loads public names on first use: drawing needs neither TFDS nor the tracker's SciPy."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
