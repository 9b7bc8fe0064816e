"""UMT5's layout: goldens of transformers, both ways, and configurations that are refused."""

from __future__ import annotations

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file

from alchemint_jax.errors import WeightsError
from alchemint_jax.models.umt5 import VARIANTS, UMT5Config, UMT5Encoder
from alchemint_jax.weights.layouts import umt5
from alchemint_jax.weights.layouts.moves import to_foreign

pytestmark = pytest.mark.slow

GOLDEN = Path(__file__).parents[1] / "goldens" / "umt5"
THEIRS = json.loads((GOLDEN / "config.json").read_text())
CONFIG = umt5.config_from_diffusers(THEIRS)


def _named(tree):
    pairs = jax.tree_util.tree_leaves_with_path(tree)
    return {".".join(p.key for p in path): leaf for path, leaf in pairs}


@pytest.fixture(scope="module")
def params():
    tensors = load_file(GOLDEN / "model.safetensors")
    target = UMT5Encoder(CONFIG).abstract_params()
    flat = {path: np.full(leaf.shape, np.nan, np.float32) for path, leaf in _named(target).items()}
    for entry in umt5.entries(CONFIG):
        value = entry.move.read(tensors[entry.name])
        flat[entry.path][... if entry.layer is None else entry.layer] = value
    return jax.tree.unflatten(jax.tree.structure(target), list(flat.values()))


def _relative(x, reference, mask):
    x, reference = np.asarray(x, np.float64)[mask], np.asarray(reference, np.float64)[mask]
    return np.sqrt(((x - reference) ** 2).mean() / (reference**2).mean())


def test_states_are_transformers(params):
    io = load_file(GOLDEN / "io.safetensors")
    ours = UMT5Encoder(CONFIG).apply({"params": params}, io["ids"], io["mask"])
    assert _relative(ours, io["states"], io["mask"]) <= 1e-5
    half = UMT5Encoder(CONFIG, dtype=jnp.bfloat16).apply({"params": params}, io["ids"], io["mask"])
    theirs = _relative(io["states_bfloat16"], io["states"], io["mask"])
    ours = _relative(np.asarray(half, np.float32), io["states"], io["mask"])
    assert 0 < ours <= 1.5 * theirs


def test_entries_cover_the_file_and_every_parameter_once(params):
    tensors, flat = load_file(GOLDEN / "model.safetensors"), _named(params)
    layout = umt5.entries(CONFIG)
    assert {e.name for e in layout} == set(tensors) and len(layout) == len(tensors)
    assert set(umt5.ALIASES.values()) <= set(tensors)
    seen = [(e.path, e.layer) for e in layout]
    rows = [
        (path, layer)
        for path in flat
        for layer in (range(CONFIG.n_layers) if path.startswith("blocks.") else [None])
    ]
    assert sorted(seen, key=str) == sorted(rows, key=str)


def test_the_way_back_gives_the_file_again(params):
    tensors, flat = load_file(GOLDEN / "model.safetensors"), _named(params)
    for entry in umt5.entries(CONFIG):
        assert entry.foreign_shape(flat[entry.path].shape) == tensors[entry.name].shape
        np.testing.assert_array_equal(to_foreign(entry, flat[entry.path]), tensors[entry.name])


def test_xxl_has_the_published_tensors():
    shapes = _named(UMT5Encoder(VARIANTS["xxl"]).abstract_params())
    theirs = {e.name: e.foreign_shape(shapes[e.path].shape) for e in umt5.entries(VARIANTS["xxl"])}
    assert len(theirs) == 24 * 10 + 2
    assert theirs["shared.weight"] == (256_384, 4096)
    assert theirs["encoder.block.23.layer.1.DenseReluDense.wo.weight"] == (4096, 10_240)
    assert theirs["encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight"] == (
        32,
        64,
    )


def test_configurations_survive_both_ways():
    assert UMT5Config(96, 24, 4, 10, 40, 3, 8, 20, 1e-6) == CONFIG
    for config in (CONFIG, *VARIANTS.values()):
        text = json.dumps(umt5.config_to_diffusers(config))
        assert umt5.config_from_diffusers(json.loads(text)) == config
    # What transformers wrote is all there, but for its version and what only it uses.
    mine = umt5.config_to_diffusers(CONFIG)
    apart = {"classifier_dropout", "dtype", "num_decoder_layers", "transformers_version"}
    apart |= {"initializer_factor", "use_cache", "tie_word_embeddings"}
    assert {k: mine.get(k) for k in THEIRS.keys() - apart} == {
        k: v for k, v in THEIRS.items() if k not in apart
    }


def test_fields_that_older_files_lack_have_transformers_defaults():
    absent = ("relative_attention_num_buckets", "relative_attention_max_distance", "is_gated_act")
    absent += ("layer_norm_epsilon", "dense_act_fn", "feed_forward_proj", "is_decoder")
    config = umt5.config_from_diffusers({k: v for k, v in THEIRS.items() if k not in absent})
    assert (config.n_buckets, config.max_distance, config.eps) == (32, 128, 1e-6)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"model_type": "t5"}, ["model_type is 't5'", "'umt5'"]),
        ({"model_type": None}, ["model_type is missing"]),
        ({"feed_forward_proj": "relu"}, ["feed_forward_proj is 'relu'", "'gated-gelu'"]),
        ({"dense_act_fn": "gelu"}, ["dense_act_fn is 'gelu'"]),
        ({"is_gated_act": False}, ["is_gated_act is False"]),
        ({"is_decoder": True}, ["is_decoder is True"]),
        ({"d_model": None}, ["d_model is missing"]),
        ({"d_ff": "40"}, ["d_ff is '40'", "whole number"]),
        ({"num_heads": True}, ["num_heads is True"]),
        ({"num_layers": 0}, ["num_layers is 0"]),
        ({"d_kv": 1.5}, ["d_kv is 1.5"]),
        ({"layer_norm_epsilon": -1.0}, ["layer_norm_epsilon is -1.0"]),
        ({"relative_attention_num_buckets": 6}, ["n_buckets is 6"]),
        ({"d_kv": -1, "dense_act_fn": "silu"}, ["d_kv is -1", "dense_act_fn is 'silu'"]),
    ],
)
def test_other_networks_are_refused(change, words):
    values = {k: v for k, v in {**THEIRS, **change}.items() if v is not None}
    with pytest.raises(WeightsError) as e:
        umt5.config_from_diffusers(values, "there/config.json")
    assert str(e.value).startswith("there/config.json: ")
    for word in words:
        assert word in str(e.value)
