"""Real videos become scenes: who is on screen when, with pictures of everyone, in stages.

    ingest -> shots -> captions -> entities -> detect -> track -> spans -> pictures -> redux
           -> scores -> pairs -> clips -> select -> sheets -> pack

Each stage is a function of rows (dictionaries of plain values, one for each scene), of what looks
at frames (`perceive`) and of its own part of the `Settings`. What it made lies in
DIR/stages/NAME/part-00012.jsonl, so a run that was stopped goes on, and another threshold computes
again only what depends on it. No stage loses a row: what fails, or is left out, says why.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from alchemint_jax.annotate.categories import on_screen
    from alchemint_jax.annotate.run import Summary, annotate
    from alchemint_jax.annotate.settings import Settings, load_settings

_HOMES = {
    "Settings": "settings",
    "Summary": "run",
    "annotate": "run",
    "load_settings": "settings",
    "on_screen": "categories",
}

__all__ = ["Settings", "Summary", "annotate", "load_settings", "on_screen"]


def __getattr__(name: str) -> Any:
    """Loads public names on first use."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
