"""A tiny version of a real config to plan, and the mark of tests that need TPU's compiler."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from alchemint_jax.plan.planner import Request

needs_libtpu = pytest.mark.skipif(
    importlib.util.find_spec("libtpu") is None, reason="libtpu is not installed"
)
CONFIG = str(Path(__file__).parents[2] / "configs" / "wan_1_3b.py")
TINY = Request(
    config=CONFIG,
    target="v5e:2x4",
    overrides=("model.dim=64", "model.n_heads=2", "model.n_layers=2", "model.ffn_dim=128"),
    size=(32, 32),
    frames=5,
    references=2,
    remat="full",
)
