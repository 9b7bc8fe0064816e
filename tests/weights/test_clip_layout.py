"""Names, shapes and configurations of transformers' CLIP vision tower."""

from __future__ import annotations

import json
from pathlib import Path

import jax
import numpy as np
import pytest
from safetensors.numpy import load_file

from alchemint_jax.errors import WeightsError
from alchemint_jax.models.clip import VARIANTS, CLIPVision
from alchemint_jax.weights.layouts import clip
from alchemint_jax.weights.layouts.moves import to_foreign

GOLDEN = Path(__file__).parents[1] / "goldens" / "clip" / "image_encoder"
VALUES = json.loads((GOLDEN / "config.json").read_text())


def _named(tree):
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(p, simple=True, separator="."): x for p, x in leaves}


def _tower():
    tensors = load_file(GOLDEN / "model.safetensors")
    return {name: x for name, x in tensors.items() if name not in clip.IGNORED}


def test_every_tensor_has_its_place_and_shape():
    config = clip.config_from_diffusers(VALUES, "config.json")
    ours = _named(CLIPVision(config).abstract_params())
    entries = clip.entries(config)
    theirs = _tower()
    assert {e.name: e.foreign_shape(ours[e.path].shape) for e in entries} == {
        name: x.shape for name, x in theirs.items()
    }
    assert {e.path for e in entries} == set(ours)
    bare = [e.name for e in clip.entries(config, prefix="")]
    assert [f"vision_model.{name}" for name in bare] == [e.name for e in entries]
    assert not set(bare) & set(clip.IGNORED)


def test_tensors_come_back_as_they_were():
    config = clip.config_from_diffusers(VALUES, "config.json")
    theirs = _tower()
    shapes = _named(CLIPVision(config).abstract_params())
    ours = {path: np.zeros(x.shape, x.dtype) for path, x in shapes.items()}
    for e in clip.entries(config):
        if e.layer is None:
            ours[e.path] = e.move.read(theirs[e.name])
        else:
            ours[e.path][e.layer] = e.move.read(theirs[e.name])
    for e in clip.entries(config):
        np.testing.assert_array_equal(to_foreign(e, ours[e.path]), theirs[e.name])


def test_configurations_go_both_ways():
    for config in (VARIANTS["vit-h-14"], clip.config_from_diffusers(VALUES, "config.json")):
        values = json.loads(json.dumps(clip.config_to_diffusers(config)))
        assert clip.config_from_diffusers(values, "config.json") == config
    # Wan's own image_encoder/config.json, in the fields that matter
    wan = {
        "model_type": "clip_vision_model", "hidden_act": "gelu", "hidden_size": 1280,
        "image_size": 224, "intermediate_size": 5120, "layer_norm_eps": 1e-05, "num_channels": 3,
        "num_attention_heads": 16, "num_hidden_layers": 32, "patch_size": 14,
        "projection_dim": 1024,
    }  # fmt: skip
    assert clip.config_from_diffusers(wan, "config.json") == VARIANTS["vit-h-14"]


def test_absent_fields_mean_what_they_mean_in_transformers():
    config = clip.config_from_diffusers({"hidden_act": "gelu"}, "config.json")
    assert (config.dim, config.patch_size, config.n_layers) == (768, 32, 12)
    with pytest.raises(WeightsError, match="hidden_act is 'quick_gelu'"):
        clip.config_from_diffusers({}, "config.json")


def test_all_problems_are_listed_with_their_file():
    wrong = VALUES | {"hidden_act": "relu", "patch_size": [14, 14], "num_hidden_layers": 0}
    with pytest.raises(WeightsError) as e:
        clip.config_from_diffusers(wrong, "image_encoder/config.json")
    for part in ("image_encoder/config.json", "hidden_act is 'relu'", "patch_size is [14, 14]",
                 "num_hidden_layers is 0"):  # fmt: skip
        assert part in str(e.value)
    with pytest.raises(WeightsError, match=r"config\.json.*\n.*image_size 43 must be a multiple"):
        clip.config_from_diffusers(VALUES | {"image_size": 43}, "config.json")
