"""The CLIP vision tower, its pictures and its files, live against transformers."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from reference_clip import network, picture, processed, run
from transformers import CLIPVisionConfig, CLIPVisionModel

from alchemint_jax import weights
from alchemint_jax.models.clip import VARIANTS, CLIPVision, preprocess
from alchemint_jax.models.clip.preprocess import MEAN, STD
from alchemint_jax.weights.layouts import clip


def load(directory):
    module, params = weights.load(directory, "image_encoder")
    return module.config, params


def states(config, params, pixels, dtype=jnp.float32):
    found = jax.jit(CLIPVision(config, dtype).apply)({"params": params}, jnp.asarray(pixels))
    return [np.asarray(x, np.float32) for x in found]


def relative(ours, theirs):
    return np.abs(ours - theirs).max() / np.abs(theirs).max()


@pytest.mark.parametrize("projection", [False, True])
@pytest.mark.parametrize("size", [42, 224])
def test_states(tmp_path, size, projection):
    model = network(size, projection, seed=2)
    model.save_pretrained(tmp_path / "image_encoder", safe_serialization=True)
    config, params = load(tmp_path)
    pixels = processed([picture(300, 260), picture(250, 400, seed=1)], size)
    theirs, ours = run(model, pixels), states(config, params, pixels)
    assert ours[0].shape == (2, config.n_tokens, 32)
    for x, y in zip(ours, theirs, strict=True):
        print(f"size {size}: {relative(x, y):.1e}")
        assert relative(x, y) < 1e-5


def test_bfloat16_is_no_worse_than_the_reference(tmp_path):
    model = network(seed=2)
    model.save_pretrained(tmp_path / "image_encoder", safe_serialization=True)
    config, params = load(tmp_path)
    half = CLIPVisionModel.from_pretrained(tmp_path / "image_encoder", dtype=torch.bfloat16).eval()
    errors = []
    for seed in range(4):
        pixels = processed([picture(50, 60, seed)], 42)
        exact = run(model, pixels)[0]
        ours = states(config, params, pixels, jnp.bfloat16)[0]
        errors.append(
            (relative(ours, exact), relative(run(half, pixels, torch.bfloat16)[0], exact))
        )
    ours, theirs = np.mean(errors, axis=0)
    print(f"ours {ours:.1e}, reference {theirs:.1e}")
    assert ours < 1.5 * theirs


@pytest.mark.parametrize("size", [(480, 832), (224, 224), (100, 37), (224, 500), (301, 301)])
def test_pictures(size):
    given = picture(*size)
    np.testing.assert_allclose(preprocess(given), processed([given], 224)[0], rtol=0, atol=1e-6)


@pytest.mark.parametrize("size", [(480, 832), (100, 37), (301, 301)])
def test_pictures_by_torchs_bicubic(size):
    """What the processor does where torchvision is installed: one level of 255 apart at most."""
    given, short = picture(*size), min(size)
    planes = torch.from_numpy(given).permute(2, 0, 1)[None].contiguous()
    resized = torch.nn.functional.interpolate(
        planes, [int(224 * n / short) for n in size], mode="bicubic", antialias=True
    )
    top, left = ((n - 224) // 2 for n in resized.shape[2:])
    theirs = resized[0, :, top : top + 224, left : left + 224].permute(1, 2, 0).numpy()
    distance = np.abs(255 * (preprocess(given) * np.float32(STD) + np.float32(MEAN)) - theirs)
    print(f"levels: at most {distance.max():.2f}, {distance.mean():.4f} on average")
    assert distance.max() < 1.01
    assert distance.mean() < 0.01


def test_names_and_shapes_of_the_whole_tower():
    config = VARIANTS["vit-h-14"]
    values = clip.config_to_diffusers(config)
    with torch.device("meta"):
        model = CLIPVisionModel(CLIPVisionConfig(**values))
    theirs = {name: tuple(x.shape) for name, x in model.state_dict().items()}
    leaves = jax.tree_util.tree_leaves_with_path(CLIPVision(config).abstract_params())
    shapes = {jax.tree_util.keystr(p, simple=True, separator="."): x.shape for p, x in leaves}
    found = {e.name: e.foreign_shape(shapes[e.path]) for e in clip.entries(config, prefix="")}
    assert found == theirs
    print(sum(int(np.prod(s)) for s in found.values()), "parameters,", len(found), "tensors")


def test_transformers_loads_what_we_write(tmp_path):
    source, target = tmp_path / "source", tmp_path / "target"
    model = network(seed=4)
    model.save_pretrained(source / "image_encoder", safe_serialization=True)
    weights.save(target, "image_encoder", *load(source), format="wan-diffusers")
    again, report = CLIPVisionModel.from_pretrained(
        target / "image_encoder", output_loading_info=True
    )
    assert not any(report.values()), report
    pixels = processed([picture(60, 60)], 42)
    np.testing.assert_array_equal(run(model, pixels)[0], run(again.eval(), pixels)[0])
