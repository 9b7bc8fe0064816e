"""Training one of a pair of experts: its own times, its own weights, and the pair as the result."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest
from flax.traverse_util import flatten_dict, unflatten_dict

from alchemint_jax import weights
from alchemint_jax.errors import ConfigError
from alchemint_jax.models.dit import DiT
from alchemint_jax.sampling import Guidance, Pipeline
from alchemint_jax.train import dit_task, experts
from alchemint_jax.train.config import load_config
from alchemint_jax.train.run import build_task

pytestmark = pytest.mark.slow

TOP = Path(__file__).parents[2]
CONFIG = TOP / "configs" / "wan_2_2_14b.py"
BASE = TOP / "tests" / "goldens" / "pipeline" / "t2v"
SMALL = [
    *("model.dim=48", "model.n_heads=2", "model.n_layers=2", "model.ffn_dim=64"),
    *("model.text_dim=24", "model.freq_dim=16", "model.unroll=1", "compute=float32"),
    *("text.dim=24", "text.n_heads=4", "text.head_dim=8", "text.ffn_dim=32", "text.n_layers=2"),
    *("text.vocab=51", "storage=float32"),
]


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """Two text-to-video experts in diffusers' layout, of which the second is the first, doubled."""
    folder = tmp_path_factory.mktemp("published") / "pair"
    shutil.copytree(BASE, folder)
    module, params = weights.load(folder, "transformer")
    double = jax.tree.map(lambda x: 2 * np.asarray(x), params)
    weights.save(folder, "transformer_2", module.config, double, format="wan-diffusers")
    file = folder / "model_index.json"
    index = json.loads(file.read_text()) | {"boundary_ratio": 0.875}
    file.write_text(json.dumps(index | {"transformer_2": index["transformer"]}))
    return folder


def task_of(kind, start, *overrides):
    return build_task(load_config(f"{CONFIG}:{kind}", [f"init_from={start}", *SMALL, *overrides]))


def started(task):
    """The parameters of step 0, where what nobody has trained is 0.5."""
    found = task.pretrained()

    def leaf(path, x):
        tensor = found.get(f"transformer.{path}")
        return np.full(x.shape, 0.5, np.float32) if tensor is None else np.array(tensor.read())

    flat = flatten_dict(DiT(task.model).abstract_params(), sep=".")
    return unflatten_dict({path: leaf(path, x) for path, x in flat.items()}, sep=".")


def backbone(params):
    return {name: x for name, x in params.items() if name != "subjects"}


def same(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)


def test_each_is_trained_from_its_own_weights_at_its_own_times(pair, monkeypatch):
    asked = []

    class Asked(Exception):
        """What comes after is as for any other network."""

    def times(key, count, shift, span):
        asked.append(span)
        raise Asked

    monkeypatch.setattr(dit_task, "sample_times", times)
    first, second = weights.load(pair, "transformer")[1], weights.load(pair, "transformer_2")[1]
    for kind, own in (("high", first), ("low", second)):
        task = task_of(kind, pair)
        params = started(task)
        same(backbone(params), own)
        with pytest.raises(Asked):
            batch = {"latents": jax.numpy.zeros((2, 3, 4, 6, 16))}
            task.loss({"transformer": params}, batch, jax.random.key(0))
    assert asked == [(0.875, 1.0), (0.0, 0.875)]


def test_a_pair_is_exported_and_the_second_run_goes_on_from_it(pair, tmp_path):
    task = task_of("high", pair)
    params = jax.tree.map(lambda x: x + np.float32(0.25), started(task))
    task.export({"transformer": params}, tmp_path / "first")
    pipe = Pipeline.load(tmp_path / "first")
    assert pipe.settings.boundary == 0.875
    assert (pipe.settings.guidance, pipe.settings.guidance_low) == (
        Guidance(both=4.0),
        Guidance(both=3.0),
    )
    same(jax.device_get(pipe.models.dit_params), params)
    waited = jax.device_get(pipe.models.low)
    same(backbone(waited), weights.load(pair, "transformer_2")[1])
    # It has the same additions, of which nothing is heard yet.
    subjects = waited["subjects"]
    assert not subjects["index"].any() and not subjects["tag_out"]["kernel"].any()
    assert subjects["tag_in"]["kernel"].any()

    second = task_of("low", tmp_path / "first")
    same(started(second), waited)
    moved = jax.tree.map(lambda x: x - np.float32(0.125), waited)
    second.export({"transformer": moved}, tmp_path / "second")
    both = Pipeline.load(tmp_path / "second").models
    same(jax.device_get(both.dit_params), params)
    same(jax.device_get(both.low), moved)


def test_what_renders_while_it_trains_is_the_pair(pair):
    task = task_of("low", pair)
    params = jax.tree.map(jax.device_put, started(task))
    pipe = task.pipeline({"transformer": params})
    assert pipe.models.low is params
    same(backbone(jax.device_get(pipe.models.dit_params)), weights.load(pair, "transformer")[1])
    assert task.pipeline(None).models.low == {}


def test_a_branch_of_events_of_the_one_that_waits_is_silent(pair):
    task = task_of("high", pair, "model.events=True")
    params = started(task)
    found = experts.waiting(task._initial(None, "low"), params)
    branch, own = (x["blocks"]["event_attn"] for x in (found, params))
    assert not branch["o"]["kernel"].any() and not branch["o"]["bias"].any()
    same(branch["q"], own["q"])
    assert own["o"]["kernel"].any()


def test_what_does_not_fit_is_refused(pair):
    with pytest.raises(ConfigError, match="expert is 'middle'; use one of high, low"):
        task_of("high", pair, "expert=middle")
    with pytest.raises(ConfigError, match="not sampling.boundary, which says when one"):
        task_of("high", pair, "sampling.boundary=None", "sampling.guidance_low=None")
    with pytest.raises(ConfigError, match="expert is set, but init_from: .* has one transformer"):
        task_of("high", BASE).pretrained()
    alone = dataclasses.replace(task_of("high", pair), expert=None)
    with pytest.raises(ConfigError, match="two experts, of which one is trained at a time"):
        alone.check_trainable()
    with pytest.raises(ConfigError, match="pair of experts.*set expert to 'high' or to 'low'"):
        alone.pretrained()
    with pytest.raises(ConfigError, match="expert is set, but not init_from"):
        dataclasses.replace(alone, expert="low", init_from=None, train_text=True, cached_text=False)
