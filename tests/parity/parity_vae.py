"""The autoencoder against diffusers, run side by side."""

from __future__ import annotations

import json

import flax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import reference_vae
import torch
from diffusers import AutoencoderKLWan
from diffusers.loaders.single_file_utils import convert_wan_vae_to_diffusers
from safetensors.numpy import save_file

from alchemint_jax.models.vae import VAE, VARIANTS, stream_decode, stream_encode
from alchemint_jax.weights.layouts import vae as layout
from alchemint_jax.weights.layouts import vae_original
from alchemint_jax.weights.layouts.moves import to_foreign

CONFIGS = {
    "wan": {"base_dim": 8, "dim_mult": [1, 2, 4, 4], "temperal_downsample": [False, True, True]},
    "wide": {"base_dim": 16, "dim_mult": [1, 2], "temperal_downsample": [True]},
    "still": {"base_dim": 8, "dim_mult": [2, 1], "temperal_downsample": [False]},
    "sprites": {"base_dim": 8, "dim_mult": [1, 4, 8], "temperal_downsample": [True, True]},
    "wan22": reference_vae.GOLDENS["wan22"]
    | {
        "base_dim": 8,
        "decoder_base_dim": 12,
        "dim_mult": [1, 2, 4, 4],
        "temperal_downsample": [False, True, True],
    },
    # Every stage halves or keeps the time in another order, and the last one changes its width.
    "shortcuts": {
        "base_dim": 4,
        "dim_mult": [2, 4, 2],
        "temperal_downsample": [True, False],
        "is_residual": True,
    },
}
LAST = (0, 2, 3, 4, 1)  # channels first to channels last
FIRST = (0, 4, 1, 2, 3)


def _ours(reference):
    config = layout.config_from_diffusers(dict(reference.config), "config.json")
    tensors = {name: x.float().numpy() for name, x in reference.state_dict().items()}
    assert {entry.name for entry in layout.entries(config)} == tensors.keys()
    flat = {e.path: jnp.asarray(e.move.read(tensors[e.name])) for e in layout.entries(config)}
    return VAE(config), flax.traverse_util.unflatten_dict(flat, sep=".")


def _runs(vae, params):
    """Both ways to encode and to decode, channels first."""

    def whole(method):
        return lambda x: vae.apply({"params": params}, x, method=method)

    def first(run):
        run = jax.jit(run)
        return lambda x: np.asarray(run(jnp.asarray(x).transpose(LAST)).transpose(FIRST))

    encodes = (whole("encode"), lambda x: stream_encode(vae, params, x))
    decodes = (whole("decode"), lambda z: stream_decode(vae, params, z))
    return [first(run) for run in encodes], [first(run) for run in decodes]


def _error(ours, theirs):
    assert ours.shape == theirs.shape
    return np.abs(ours - theirs).max() / np.abs(theirs).max()


@pytest.mark.parametrize(
    ("name", "batch", "frames"),
    [
        ("wan", 1, 1),
        ("wan", 2, 5),
        ("wan", 1, 9),
        ("wide", 2, 9),
        ("still", 1, 5),
        ("sprites", 2, 5),
        ("wan22", 1, 1),
        ("wan22", 2, 9),
        ("shortcuts", 1, 5),
    ],
)
def test_encoding_and_decoding(name, batch, frames):
    fields = CONFIGS[name]
    reference = reference_vae.build(7, **fields)
    encodes, decodes = _runs(*_ours(reference))
    side = reference_vae.cell(fields)
    clip = reference_vae.video(1, batch, 3, frames, 3 * side, 5 * side)
    theirs = reference_vae.encode(reference, clip)
    latents = np.random.default_rng(2).normal(size=theirs.shape).astype(np.float32)
    decoded = reference_vae.decode(reference, latents)
    assert np.mean(np.abs(decoded) < 1) > 0.5, "nearly all is clamped: nothing to compare"
    for run in encodes:
        assert _error(run(clip), theirs) <= 1e-5
    for run in decodes:
        assert _error(run(latents), decoded) <= 1e-5


def test_half_precision_is_no_worse_than_the_reference():
    reference = reference_vae.build(7, **CONFIGS["wan"])
    encodes, decodes = _runs(*_ours(reference))
    clip = reference_vae.video(1, 1, 3, 9, 48, 80)
    encoded = reference_vae.encode(reference, clip)
    latents = np.random.default_rng(2).normal(size=encoded.shape).astype(np.float32)
    decoded = reference_vae.decode(reference, latents)
    half = reference_vae.build(7, **CONFIGS["wan"]).to(torch.bfloat16)
    for runs, theirs, x, truth in (
        (encodes, reference_vae.encode, clip, encoded),
        (decodes, reference_vae.decode, latents, decoded),
    ):
        limit = np.abs(theirs(half, x) - truth)
        for run in runs:
            ours = run(jnp.asarray(x, jnp.bfloat16))
            assert ours.dtype == jnp.bfloat16
            error = np.abs(ours.astype(np.float32) - truth)
            assert error.max() <= 1.5 * limit.max()
            assert error.mean() <= 1.5 * limit.mean()


@pytest.mark.parametrize("name", ["sprites", "wan22"])
def test_diffusers_loads_what_we_write(tmp_path, name):
    original = reference_vae.build(3, **CONFIGS[name])
    vae, params = _ours(original)
    flat = flax.traverse_util.flatten_dict(params, sep=".")
    tensors = {
        e.name: np.ascontiguousarray(to_foreign(e, np.asarray(flat[e.path])))
        for e in layout.entries(vae.config)
    }
    save_file(tensors, tmp_path / "diffusion_pytorch_model.safetensors", {"format": "pt"})
    (tmp_path / "config.json").write_text(json.dumps(layout.config_to_diffusers(vae.config)))
    loaded, report = AutoencoderKLWan.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(report.values()), report
    side = reference_vae.cell(CONFIGS[name])
    clip = reference_vae.video(1, 1, 3, 5, 3 * side, 5 * side)
    np.testing.assert_array_equal(
        reference_vae.encode(loaded, clip), reference_vae.encode(original, clip)
    )
    again, _ = _ours(loaded)
    assert again.config == vae.config


def test_wans_own_names_are_those_that_diffusers_converts():
    config = {"base_dim": 4, "dim_mult": [1, 2, 4, 4], "temperal_downsample": [False, True, True]}
    reference = reference_vae.build(5, z_dim=16, **config)
    ours = layout.config_from_diffusers(dict(reference.config), "config.json")
    theirs = reference.state_dict()
    paths = {entry.path: entry.name for entry in layout.entries(ours)}
    given = {e.name: theirs[paths[e.path]] for e in vae_original.entries(ours)}
    converted = convert_wan_vae_to_diffusers(given)
    assert sorted(converted) == sorted(theirs)
    for name, value in converted.items():
        assert torch.equal(value, theirs[name]), name


def test_names_and_shapes_of_the_published_size_of_wan22():
    config = layout.config_to_diffusers(VARIANTS["wan2.2"])
    fields = {name: value for name, value in config.items() if not name.startswith("_")}
    with torch.device("meta"):
        theirs = AutoencoderKLWan(**fields).state_dict()
    flat = flax.traverse_util.flatten_dict(VAE(VARIANTS["wan2.2"]).abstract_params(), sep=".")
    ours = {e.name: e.foreign_shape(flat[e.path].shape) for e in layout.entries(VARIANTS["wan2.2"])}
    assert ours == {name: tuple(x.shape) for name, x in theirs.items()}
