"""Datasets: records on disk, their encoding, and the pipelines that read them."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from alchemint_jax.data.clips import ClipShape, open_split
    from alchemint_jax.data.encode import encode_dataset, open_encoded
    from alchemint_jax.data.loader import Augment, LoaderConfig, clip_loader, latent_loader
    from alchemint_jax.data.share import Share
    from alchemint_jax.data.sheet import write_sheet

_HOMES = {
    "clips": ("ClipShape", "open_split"),
    "encode": ("encode_dataset", "open_encoded"),
    "loader": ("Augment", "LoaderConfig", "clip_loader", "latent_loader"),
    "share": ("Share",),
    "sheet": ("write_sheet",),
}

__all__ = [
    "Augment",
    "ClipShape",
    "LoaderConfig",
    "Share",
    "clip_loader",
    "encode_dataset",
    "latent_loader",
    "open_encoded",
    "open_split",
    "write_sheet",
]


def __getattr__(name: str) -> Any:
    """Loads public names on first use: records need neither Grain nor TFDS."""
    for module, names in _HOMES.items():
        if name in names:
            return getattr(importlib.import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
