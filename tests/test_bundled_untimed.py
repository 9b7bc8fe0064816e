"""The bundled model that knows no time: a LoRA that is added to `sprites`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from alchemint_jax import weights
from alchemint_jax.evaluate.benchmark import fingerprints
from alchemint_jax.rotary import FittedRope, NoInterval
from alchemint_jax.sampling import settings
from alchemint_jax.train.config import load_config
from alchemint_jax.train.metrics import read_metrics
from alchemint_jax.train.run import build_task

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parent.parent


def test_it_is_a_small_addition_to_another_model_and_knows_no_time():
    own, shared = (fingerprints(name) for name in ("sprites/untimed", "sprites"))
    assert {name for name in own if own[name] != shared[name]} == {"transformer"}
    folder = weights.locate("sprites/untimed")
    assert sum(f.stat().st_size for f in folder.rglob("*") if f.is_file()) < 2e6
    module, tensors = weights.open_component("sprites/untimed", "transformer")
    base, before = weights.open_component("sprites", "transformer")
    assert isinstance(module.config.scheme, NoInterval)
    assert isinstance(base.config.scheme, FittedRope) and tensors.keys() == before.keys()
    changed = {path for path in tensors if np.any(tensors[path].read() != before[path].read())}
    inside = {path for path in tensors if path.endswith("kernel")}
    inside = {p for p in inside if any(part in p for part in ("self_attn", "cross_attn", "ffn"))}
    assert changed == inside and len(inside) < len(tensors)


def test_it_is_what_its_config_makes():
    config = load_config(ROOT / "configs" / "sprites_untimed.py")
    task = build_task(config)
    module, _ = weights.open_component("sprites/untimed", "transformer")
    assert module.config == task.model and task.init_from == "sprites"
    assert settings.load(weights.locate("sprites/untimed")) == task.sampling
    lines = read_metrics(ROOT / "docs" / "results" / "sprites_untimed.jsonl")
    assert config.train.total_steps == lines[-1]["step"]
