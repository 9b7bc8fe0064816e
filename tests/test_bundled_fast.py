"""The bundled student: a LoRA that is added to `sprites`, sampled in one way."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import alchemint_jax as al
from alchemint_jax import weights
from alchemint_jax.errors import ConfigError
from alchemint_jax.evaluate import students
from alchemint_jax.evaluate.benchmark import fingerprints
from alchemint_jax.sampling.control import Relay
from alchemint_jax.train.config import load_config
from alchemint_jax.train.metrics import read_metrics
from alchemint_jax.train.run import build_task

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parent.parent
CONFIG = ROOT / "configs" / "sprites_fast.py"


def test_it_is_a_small_addition_to_another_model():
    own, shared = (fingerprints(name) for name in ("sprites/fast", "sprites"))
    assert {name for name in own if own[name] != shared[name]} == {"transformer"}
    folder = weights.locate("sprites/fast")
    assert sum(f.stat().st_size for f in folder.rglob("*") if f.is_file()) < 1e6
    module, tensors = weights.open_component("sprites/fast", "transformer")
    base, before = weights.open_component("sprites", "transformer")
    assert module.config == base.config and tensors.keys() == before.keys()
    changed = {path for path in tensors if np.any(tensors[path].read() != before[path].read())}
    inside = {path for path in tensors if path.endswith("kernel")}
    inside = {p for p in inside if any(part in p for part in ("self_attn", "cross_attn", "ffn"))}
    assert changed == inside and len(inside) < len(tensors)


def test_it_is_what_its_config_makes():
    settings = al.Pipeline.load("sprites/fast").settings
    for stage in ("segments", "path"):
        task = build_task(load_config(f"{CONFIG}:{stage}"))
        assert settings == task.sampling and task.init_from == "sprites"
    with pytest.raises(ConfigError, match="steps is 40, but this model was distilled for 2"):
        settings.plan(40)
    lines = read_metrics(ROOT / "docs" / "results" / "sprites_fast.jsonl")
    train = load_config(f"{CONFIG}:path").train
    assert 0 <= train.total_steps - lines[-1]["step"] < train.log_every


def test_no_relay_contrasts_its_guidance_which_is_inside():
    assert al.Pipeline.load("sprites/fast", relay=Relay()).relay == Relay()
    with pytest.raises(ConfigError, match="has its guidance inside, .* leave --contrast out"):
        al.Pipeline.load("sprites/fast", relay=Relay(contrast=True))


def test_the_card_says_whether_it_may_stand_in():
    figures = json.loads((ROOT / "docs" / "results" / "few_steps.json").read_text())
    own = figures["ways"]["student"]
    card = (weights.locate("sprites/fast") / "README.md").read_text()
    for name, title in students.TITLES.items():
        sign = "+" if name in ("t_iou", "identity") else ""
        cells = [f"{own[name][end]:{sign}.3f}" for end in ("mean", "low", "high")]
        assert f"| {title} | {cells[0]} ({cells[1]} to {cells[2]}) |" in card
