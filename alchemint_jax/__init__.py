"""Say what appears in a video, and when: AlcheMinT in JAX and Flax.

The names below are imported when they are first used, so ``import alchemint_jax`` is instant and
starts neither JAX nor an accelerator::

    import alchemint_jax as al

    board = al.Storyboard.load("board.yaml")
    video = al.Pipeline.load("sprites").generate(board, seed=0)  # uint8 [f, h, w, 3]
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from alchemint_jax import evaluate, flow, rotary, weights
    from alchemint_jax.errors import StoryboardError
    from alchemint_jax.sampling.guidance import Guidance
    from alchemint_jax.sampling.pipeline import Pipeline
    from alchemint_jax.scene.storyboard import Storyboard

__version__ = "0.1.0"

__all__ = [
    "Guidance",
    "Pipeline",
    "Storyboard",
    "StoryboardError",
    "__version__",
    "evaluate",
    "flow",
    "rotary",
    "weights",
]

_HOMES = {
    "Guidance": "alchemint_jax.sampling.guidance",
    "Pipeline": "alchemint_jax.sampling.pipeline",
    "Storyboard": "alchemint_jax.scene.storyboard",
    "StoryboardError": "alchemint_jax.errors",
}
_ROOMS = ("evaluate", "flow", "rotary", "weights")


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return importlib.import_module(f"{__name__}.{name}")
    if name in _HOMES:
        value = getattr(importlib.import_module(_HOMES[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
