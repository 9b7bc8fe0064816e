"""The sprites world: how it is drawn, written to disk, asked for in benchmarks, and measured."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from alchemint_jax.worlds.sprites.builder import write_sprites
    from alchemint_jax.worlds.sprites.cases import SpritesBenchmark, sprites_cases, sprites_clips
    from alchemint_jax.worlds.sprites.tracker import SpritesTracker, Tracking, kind_of, track
    from alchemint_jax.worlds.sprites.world import World, sample_clip

_HOMES = {
    "write_sprites": "builder",
    **dict.fromkeys(("SpritesBenchmark", "sprites_cases", "sprites_clips"), "cases"),
    **dict.fromkeys(("SpritesTracker", "Tracking", "kind_of", "track"), "tracker"),
    **dict.fromkeys(("World", "sample_clip"), "world"),
}

__all__ = [
    "SpritesBenchmark",
    "SpritesTracker",
    "Tracking",
    "World",
    "kind_of",
    "sample_clip",
    "sprites_cases",
    "sprites_clips",
    "track",
    "write_sprites",
]


def __getattr__(name: str) -> Any:
    """Loads public names on first use: drawing needs neither TFDS nor the tracker's SciPy."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
