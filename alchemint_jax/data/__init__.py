"""Datasets: records on disk, their encoding, and the pipelines that read them."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from alchemint_jax.data.buckets import Bucket
    from alchemint_jax.data.clip_writer import write_clips
    from alchemint_jax.data.clips import ClipShape, open_split
    from alchemint_jax.data.encode import encode_dataset
    from alchemint_jax.data.encoded import open_encoded
    from alchemint_jax.data.encoding import Encoding
    from alchemint_jax.data.loader import Augment, LoaderConfig, clip_loader, latent_loader
    from alchemint_jax.data.share import Share
    from alchemint_jax.data.sheet import write_sheet
    from alchemint_jax.data.timed_clips import TimedClip, open_timed_clips, write_timed_clips

_HOMES = {
    "clip_writer": ("write_clips",),
    "clips": ("ClipShape", "open_split"),
    "buckets": ("Bucket",),
    "encode": ("encode_dataset",),
    "encoded": ("open_encoded",),
    "encoding": ("Encoding",),
    "timed_clips": ("TimedClip", "open_timed_clips", "write_timed_clips"),
    "loader": ("Augment", "LoaderConfig", "clip_loader", "latent_loader"),
    "share": ("Share",),
    "sheet": ("write_sheet",),
}

__all__ = [
    "Augment",
    "Bucket",
    "ClipShape",
    "Encoding",
    "LoaderConfig",
    "Share",
    "TimedClip",
    "clip_loader",
    "encode_dataset",
    "latent_loader",
    "open_encoded",
    "open_split",
    "open_timed_clips",
    "write_clips",
    "write_sheet",
    "write_timed_clips",
]


def __getattr__(name: str) -> Any:
    """Loads public names on first use: records need neither Grain nor TFDS."""
    for module, names in _HOMES.items():
        if name in names:
            return getattr(importlib.import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
