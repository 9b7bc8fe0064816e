"""Autoencoders in single files: Wan's own names (LightVAE's, too), and TAEHV's small decoders."""

from __future__ import annotations

import dataclasses
import math

import flax
import jax
import numpy as np
import pytest
from safetensors.numpy import save_file

from alchemint_jax import weights
from alchemint_jax.errors import WeightsError
from alchemint_jax.models.vae import VAE, VARIANTS, TinyDecoder, TinyDecoderConfig
from alchemint_jax.weights.layouts import vae_original
from alchemint_jax.weights.layouts.moves import to_foreign

pytestmark = pytest.mark.slow

LIGHT = dataclasses.replace(VARIANTS["wan2.1"], base_dim=24)  # of lightx2v/Autoencoders
CONFIGS = {
    "wan2.1": dataclasses.replace(VARIANTS["wan2.1"], base_dim=2),
    "wan2.2": dataclasses.replace(VARIANTS["wan2.2"], base_dim=2, decoder_base_dim=3),
    "other": dataclasses.replace(
        VARIANTS["wan2.1"], base_dim=4, dim_mult=(2, 3), num_res_blocks=1,
        temporal_downsample=(True,),
    ),
}  # fmt: skip


def _flat(tree):
    return flax.traverse_util.flatten_dict(tree, sep=".")


def _write(path, module, entries, seed=0, **others):
    """A file of random tensors in foreign names, and ours of the same values."""
    rng = np.random.default_rng(seed)
    ours = jax.tree.map(
        lambda x: rng.standard_normal(x.shape).astype(np.float32), module.abstract_params()
    )
    flat = _flat(ours)
    tensors = {e.name: np.ascontiguousarray(to_foreign(e, flat[e.path])) for e in entries}
    assert len(tensors) == len(entries) == len(flat)
    save_file(tensors | others, path)
    return flat


@pytest.mark.parametrize("name", CONFIGS)
def test_an_autoencoder_in_wans_own_names(tmp_path, name):
    config, file = CONFIGS[name], tmp_path / "vae.safetensors"
    written = _write(file, VAE(config), vae_original.entries(config))
    module, params = weights.load(file, "vae")
    assert module == VAE(config)
    read = _flat(params)
    assert read.keys() == written.keys()
    for path, value in written.items():
        np.testing.assert_array_equal(read[path], value, err_msg=path)


def _shapes(config):
    ours = {path: x.shape for path, x in _flat(VAE(config).abstract_params()).items()}
    return {e.name: e.foreign_shape(ours[e.path]) for e in vae_original.entries(config)}


@pytest.mark.parametrize(
    ("config", "names"),
    [
        (
            VARIANTS["wan2.1"],
            {
                "conv1.weight": (32, 32, 1, 1, 1),
                "conv2.bias": (16,),
                "encoder.downsamples.2.resample.1.weight": (96, 96, 3, 3),
                "encoder.downsamples.3.shortcut.weight": (192, 96, 1, 1, 1),
                "encoder.downsamples.8.time_conv.weight": (384, 384, 3, 1, 1),
                "encoder.middle.1.to_qkv.weight": (1152, 384, 1, 1),
                "encoder.head.2.weight": (32, 384, 3, 3, 3),
                "decoder.upsamples.3.time_conv.bias": (768,),
                "decoder.upsamples.4.residual.2.weight": (384, 192, 3, 3, 3),
                "decoder.upsamples.14.residual.6.bias": (96,),
                "decoder.head.0.gamma": (96, 1, 1, 1),
            },
        ),
        (
            VARIANTS["wan2.2"],
            {
                "encoder.conv1.weight": (160, 12, 3, 3, 3),
                "encoder.downsamples.1.downsamples.2.time_conv.weight": (320, 320, 3, 1, 1),
                "encoder.downsamples.3.downsamples.1.residual.6.weight": (640, 640, 3, 3, 3),
                "decoder.upsamples.0.upsamples.3.resample.1.weight": (1024, 1024, 3, 3),
                "decoder.upsamples.2.upsamples.0.shortcut.weight": (512, 1024, 1, 1, 1),
                "decoder.head.2.weight": (12, 256, 3, 3, 3),
            },
        ),
    ],
)
def test_names_at_full_size(config, names):
    shapes = _shapes(config)
    assert {name: shapes[name] for name in names} == names
    assert vae_original.guess(shapes) == config


def test_lightvae_is_wans_at_a_quarter_of_its_width():
    """The published file has 32,160,476 bytes in float32, its header included."""
    shapes = _shapes(LIGHT)
    assert vae_original.guess(shapes) == LIGHT
    assert 0 < 32_160_476 - 4 * sum(map(math.prod, shapes.values())) < 32_768


@pytest.mark.parametrize(
    "config",
    [
        TinyDecoderConfig(widths=(6, 4, 4, 3)),
        TinyDecoderConfig(48, (4, 4, 3, 3), memory_blocks=2, patch=2),
    ],
)
def test_a_small_decoder(tmp_path, config):
    """Its encoder's tensors are not read."""
    file, entries = tmp_path / "taew2_1.safetensors", vae_original.tiny_entries(config)
    written = _write(
        file, TinyDecoder(config), entries, **{"encoder.0.weight": np.zeros(1, np.float32)}
    )
    module, params = weights.load(file, "vae")
    assert module == TinyDecoder(config)
    for path, value in _flat(params).items():
        np.testing.assert_array_equal(value, written[path], err_msg=path)


def test_names_of_the_published_small_decoder():
    ours = {
        p: x.shape for p, x in _flat(TinyDecoder(TinyDecoderConfig()).abstract_params()).items()
    }
    shapes = {
        e.name: e.foreign_shape(ours[e.path])
        for e in vae_original.tiny_entries(TinyDecoderConfig())
    }
    for name, shape in {
        "decoder.1.weight": (256, 16, 3, 3),
        "decoder.3.conv.0.weight": (256, 512, 3, 3),
        "decoder.5.conv.4.bias": (256,),
        "decoder.7.conv.weight": (256, 256, 1, 1),
        "decoder.8.weight": (128, 256, 3, 3),
        "decoder.13.conv.weight": (256, 128, 1, 1),
        "decoder.19.conv.weight": (128, 64, 1, 1),
        "decoder.20.weight": (64, 64, 3, 3),
        "decoder.22.bias": (3,),
    }.items():
        assert shapes[name] == shape, name
    assert "decoder.8.bias" not in shapes and len(shapes) == 64
    assert vae_original.guess_tiny(shapes) == TinyDecoderConfig()


def _x(*shape):
    return np.zeros(shape, np.float32)


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"a": _x(1)}, "neither an autoencoder in Wan's own names .*encoder.conv1.weight' is miss"),
        (
            {"encoder.conv1.weight": _x(4, 3, 3, 3, 3), "conv2.weight": _x(7, 7, 1, 1, 1)},
            "latents of 7 channels, whose means are not known",
        ),
        (
            {"encoder.down_blocks.0.norm1.gamma": _x(4)},
            "names of diffusers, .* give the folder of the model",
        ),
        (
            {"decoder.1.weight": _x(4, 16, 3, 3), "decoder.3.conv.0.weight": _x(4, 8, 3, 3)},
            "decoder.5.conv.weight' is missing",
        ),
        ({"blocks.0.lora_A.weight": _x(4, 4)}, "LoRA"),
    ],
)
def test_other_files_are_refused(tmp_path, tensors, message):
    save_file(tensors, tmp_path / "x.safetensors")
    with pytest.raises(WeightsError, match=rf"(?s)x\.safetensors.*{message}"):
        weights.load(tmp_path / "x.safetensors", "vae")


def test_one_missing_tensor_is_named(tmp_path):
    config, file = CONFIGS["wan2.1"], tmp_path / "vae.safetensors"
    entries = [e for e in vae_original.entries(config)]
    flat = {
        p: np.zeros(x.shape, np.float32) for p, x in _flat(VAE(config).abstract_params()).items()
    }
    tensors = {e.name: np.ascontiguousarray(to_foreign(e, flat[e.path])) for e in entries}
    del tensors["decoder.middle.2.residual.6.bias"]
    save_file(tensors, file)
    with pytest.raises(WeightsError, match=r"decoder\.middle\.2\.residual\.6\.bias"):
        weights.load(file, "vae")


def test_a_pickle_is_not_read(tmp_path):
    (tmp_path / "Wan2.1_VAE.pth").write_bytes(b"PK\x03\x04")
    with pytest.raises(WeightsError, match="(?i)pickle|safetensors"):
        weights.load(tmp_path / "Wan2.1_VAE.pth", "vae")
