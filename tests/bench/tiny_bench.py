"""The sprites recipe, made tiny: of everything a few numbers."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from alchemint_jax.bench.cases import Case
from alchemint_jax.bench.suite import config_cases

CONFIG = str(Path(__file__).parents[2] / "configs" / "sprites.py")
TINY = (
    "model.dim=16",
    "model.n_heads=1",
    "model.n_layers=1",
    "model.unroll=1",
    "model.ffn_dim=16",
    "model.text_dim=8",
    "text.dim=8",
    "text.n_heads=1",
    "text.head_dim=8",
    "text.ffn_dim=8",
    "text.n_layers=1",
    "model.scheme.name=MidRope",
    "sampling.size=(24, 16)",
    "sampling.reference_size=(16, 16)",
    "train.optimizer.method=adamw",
    "vae=sprites",
)
SIZES = ("--size", "24x16", "--frames", "5", "--references", "2", "--batch", "2")


def tiny(name: str, references: int = 2, **changes) -> Case:
    """One case of the recipe, on one device."""
    (case,) = config_cases(
        CONFIG, [name], TINY, size=(24, 16), frames=5, references=references, batch=2
    )
    return dataclasses.replace(case, mesh=None, **changes)
