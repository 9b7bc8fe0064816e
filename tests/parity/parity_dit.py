"""The text-to-video transformer and its files, live against diffusers."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from diffusers import WanTransformer3DModel
from diffusers.loaders.single_file_utils import convert_wan_transformer_to_diffusers
from reference_dit import NETWORKS, inputs, network, run
from safetensors.numpy import load_file

from alchemint_jax import weights
from alchemint_jax.models.dit import VARIANTS, DiT
from alchemint_jax.weights.layouts import dit

PATCHES = [(1, 3, 5), (3, 5, 3)]


def saved(directory, name, seed=3, **options):
    """A network of diffusers, and what our loader makes of its files."""
    model = network(name, seed)
    model.save_pretrained(directory / "transformer", **options)
    return model, *weights.load(directory, "transformer")


def velocity(config, params, given, dtype=jnp.float32):
    given = {name: jnp.asarray(x) for name, x in given.items()}
    return np.asarray(jax.jit(DiT(config, dtype).apply)({"params": params}, **given))


def relative(ours, theirs):
    return np.abs(ours - theirs).max() / np.abs(theirs).max()


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("patches", PATCHES)
@pytest.mark.parametrize("name", NETWORKS)
def test_velocity(tmp_path, name, patches, batch):
    model, module, params = saved(tmp_path, name)
    given = inputs(model, batch, patches)
    error = relative(velocity(module.config, params, given), run(model, given))
    print(f"{name} batch {batch} patches {patches}: {error:.1e}")
    assert error <= 2e-5


@pytest.mark.parametrize("name", NETWORKS)
def test_bfloat16_is_no_worse_than_the_reference(tmp_path, name):
    model, module, params = saved(tmp_path, name)
    half = WanTransformer3DModel.from_pretrained(
        tmp_path / "transformer", torch_dtype=torch.bfloat16
    ).eval()
    theirs, ours = [], []
    for seed in range(4):
        given = inputs(model, 2, (3, 3, 5), seed)
        exact = run(model, given)
        theirs.append(relative(run(half, given, torch.bfloat16), exact))
        ours.append(relative(velocity(module.config, params, given, jnp.bfloat16), exact))
    print(f"{name}: ours {np.mean(ours):.1e}, reference {np.mean(theirs):.1e}")
    assert np.mean(ours) <= 1.5 * np.mean(theirs)


@pytest.mark.parametrize("name", NETWORKS)
def test_diffusers_loads_what_we_write(tmp_path, name):
    model, module, params = saved(tmp_path / "theirs", name)
    weights.save(tmp_path / "ours", "transformer", module.config, params, format="wan-diffusers")
    again, report = WanTransformer3DModel.from_pretrained(
        tmp_path / "ours" / "transformer", output_loading_info=True
    )
    assert not any(report.values()), report
    fields = {name for name in model.config if not name.startswith("_")}
    assert all(np.array_equal(again.config[name], model.config[name]) for name in fields)
    given = inputs(model, 2, (3, 3, 5))
    np.testing.assert_array_equal(run(again.eval(), given), run(model, given))


@pytest.mark.parametrize("kind", ["float32", "float16", "bfloat16"])
def test_loading_and_saving_changes_no_bit(tmp_path, kind):
    model = network("small").to(getattr(torch, kind))
    model.save_pretrained(tmp_path / "theirs" / "transformer")
    module, params = weights.load(tmp_path / "theirs", "transformer")
    weights.save(
        tmp_path / "ours", "transformer", module.config, params, kind, format="wan-diffusers"
    )
    file = "transformer/diffusion_pytorch_model.safetensors"
    theirs, ours = (load_file(tmp_path / who / file) for who in ("theirs", "ours"))
    assert {n: (x.dtype, x.shape, x.tobytes()) for n, x in ours.items()} == {
        n: (x.dtype, x.shape, x.tobytes()) for n, x in theirs.items()
    }


def test_files_with_original_names(tmp_path):
    """Diffusers' converter turns the original names that we write into those it has itself."""
    model, module, params = saved(tmp_path / "theirs", "wan")
    weights.save(tmp_path / "ours", "transformer", module.config, params, format="wan")
    tensors = load_file(tmp_path / "ours/transformer/diffusion_pytorch_model.safetensors")
    theirs = {name: x.numpy() for name, x in model.state_dict().items()}
    converted = convert_wan_transformer_to_diffusers(dict(tensors))
    assert sorted(converted) == sorted(theirs)
    for name, x in converted.items():
        np.testing.assert_array_equal(x, theirs[name], err_msg=name)


@pytest.mark.parametrize("variant", ["wan2.1-1.3b", "wan2.1-14b"])
def test_names_and_shapes_of_the_published_sizes(variant):
    config = VARIANTS[variant]
    with torch.device("meta"):
        model = WanTransformer3DModel.from_config(dit.config_to_diffusers(config))
    theirs = {name: tuple(x.shape) for name, x in model.state_dict().items()}
    leaves = jax.tree_util.tree_leaves_with_path(DiT(config).abstract_params())
    shapes = {jax.tree_util.keystr(p, simple=True, separator="."): x.shape for p, x in leaves}
    entries = dit.entries(config)
    assert {e.name: e.foreign_shape(shapes[e.path]) for e in entries} == theirs
    assert {e.path for e in entries} == set(shapes)
    assert len(entries) == 27 * config.n_layers + 15
    assert dit.config_from_diffusers(dict(model.config) | {"_class_name": dit.CLASS}, "") == config
