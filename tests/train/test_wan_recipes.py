"""The recipes of Wan: their sizes, rates and groups, without any weights."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import jax
import pytest
from lora_kit import size

from alchemint_jax import sharding, train
from alchemint_jax.errors import ConfigError
from alchemint_jax.models.dit import VARIANTS
from alchemint_jax.models.lora import LoraConfig
from alchemint_jax.train.config import build_train, load_config
from alchemint_jax.train.run import build_task
from alchemint_jax.train.state import everything

pytestmark = pytest.mark.slow

CONFIGS = Path(__file__).parents[2] / "configs"


@pytest.mark.parametrize("kind", ["full", "lora"])
@pytest.mark.parametrize(
    ("name", "variant", "count"),
    [("wan_1_3b", "wan2.1-1.3b", 1_418_996_800), ("wan_14b", "wan2.1-14b", 14_288_491_584)],
)
def test_wan_recipes_build_without_any_weights(name, variant, count, kind):
    config = load_config(CONFIGS / f"{name}.py:{kind}")
    task, schedule = build_task(config), build_train(config)
    sizes = dataclasses.replace(VARIANTS[variant], slots=3)
    assert task.model == sizes and schedule.total_steps == 40_000
    assert task.vae == task.init_from and not task.train_text
    state = train.plan_state(task, schedule.optimizer, sharding.make_mesh()).abstract
    transformer = everything(state, "params")["transformer"]
    added = sum(x.size for x in jax.tree.leaves(transformer["subjects"]))
    assert sum(x.size for x in jax.tree.leaves(transformer)) - added == count
    rates = dict(schedule.optimizer.groups)
    assert rates == {"added": 1e-4, **({"lora": 1e-4} if kind == "lora" else {"backbone": 3e-5})}
    assert size(state["opt"]) < (0.08 if kind == "lora" else 2.1) * size(transformer)


def test_a_recipe_takes_its_base_from_one_place():
    config = load_config(CONFIGS / "wan_1_3b.py:lora", ["init_from=here", "lora.rank=8"])
    task = build_task(config)
    assert task.vae == task.init_from == "here" and task.lora == LoraConfig(rank=8, alpha=32.0)
    with pytest.raises(ConfigError, match=r"no kind 'tiny'"):
        load_config(CONFIGS / "wan_14b.py:tiny")
