"""diffusers' autoencoders: their names, their configuration, and what they compute."""

from __future__ import annotations

import functools
import json
import math
from pathlib import Path

import flax
import jax
import numpy as np
import pytest
from safetensors.numpy import load_file

from alchemint_jax import weights
from alchemint_jax.errors import WeightsError
from alchemint_jax.models.vae import VAE, VARIANTS, stream_decode, stream_encode
from alchemint_jax.weights.layouts.moves import to_foreign
from alchemint_jax.weights.layouts.vae import config_from_diffusers, config_to_diffusers, entries

pytestmark = pytest.mark.slow

GOLDENS = Path(__file__).parents[1] / "goldens" / "vae"
NAMES = ("wan", "small")
WAN = VARIANTS["wan2.1"]
LAST = (0, 2, 3, 4, 1)  # their channels-first video, channels last
# The fields of the published vae/config.json of Wan2.1.
PUBLISHED = {
    "_class_name": "AutoencoderKLWan",
    "_diffusers_version": "0.33.0.dev0",
    "attn_scales": [],
    "base_dim": 96,
    "dim_mult": [1, 2, 4, 4],
    "dropout": 0.0,
    "latents_mean": list(WAN.latents_mean),
    "latents_std": list(WAN.latents_std),
    "num_res_blocks": 2,
    "temperal_downsample": [False, True, True],
    "z_dim": 16,
}


def _shapes(vae):
    return {k: x.shape for k, x in _flat(vae.abstract_params()).items()}


def _flat(params):
    return flax.traverse_util.flatten_dict(params, sep=".")


def _golden(name):
    """Our module and parameters as users load them, the tensors of the file, and examples."""
    directory = GOLDENS / name
    vae, params = weights.load(directory, "vae")
    tensors = load_file(directory / "vae" / "diffusion_pytorch_model.safetensors")
    examples = load_file(directory / "io.safetensors")
    return vae, params, tensors, {name: x.transpose(LAST) for name, x in examples.items()}


@pytest.fixture(scope="module", params=NAMES)
def golden(request):
    return _golden(request.param)


def test_wan22_is_that_of_diffusers():
    """Patches and shortcuts: streamed, and whole."""
    vae, params, _, examples = _golden("wan22")
    video, latents = examples["video"], examples["latents"]

    @jax.jit
    def run(video, latents):
        return (
            vae.apply({"params": params}, video, method="encode"),
            stream_encode(vae, params, video),
            vae.apply({"params": params}, latents, method="decode"),
            stream_decode(vae, params, latents),
        )

    found = run(video, latents)
    limit = 1e-5 * np.abs(examples["encoded"]).max()
    assert np.mean(np.abs(examples["decoded"]) < 1) > 0.5, "nearly all is clamped"
    for ours in found[:2]:
        np.testing.assert_allclose(ours, examples["encoded"], rtol=0, atol=limit)
    for ours in found[2:]:
        np.testing.assert_allclose(ours, examples["decoded"], rtol=0, atol=1e-5)


def test_every_tensor_has_its_place(golden):
    vae, params, tensors, _ = golden
    found, ours = entries(vae.config), _shapes(vae)
    assert sorted(e.name for e in found) == sorted(tensors)
    assert sorted(e.path for e in found) == sorted(ours)
    assert {k: x.shape for k, x in _flat(params).items()} == ours
    assert {e.name: e.foreign_shape(ours[e.path]) for e in found} == {
        name: x.shape for name, x in tensors.items()
    }


def test_written_tensors_are_those_that_were_read(golden):
    vae, params, tensors, _ = golden
    flat = _flat(params)
    for entry in entries(vae.config):
        back = to_foreign(entry, np.asarray(flat[entry.path]))
        np.testing.assert_array_equal(back, tensors[entry.name], err_msg=entry.name)


@functools.cache
def _run(vae, method, whole):
    if whole:
        return jax.jit(lambda params, x: vae.apply({"params": params}, x, method=method))
    stream = {"encode": stream_encode, "decode": stream_decode}[method]
    return jax.jit(functools.partial(stream, vae))


# What lies between a picture and these chunks of a stream is in test_vae_streaming.py.
@pytest.mark.parametrize("frames", [1, 9])
def test_encoding_is_that_of_diffusers(golden, frames):
    vae, params, _, examples = golden
    video, expected = examples["video"][:, :frames], examples["encoded"]
    expected = expected[:, : 1 + (frames - 1) // vae.config.temporal_stride]
    whole, stream = (_run(vae, "encode", kind)(params, video) for kind in (True, False))
    limit = 1e-5 * np.abs(expected).max()
    np.testing.assert_allclose(whole, expected, rtol=0, atol=limit)
    np.testing.assert_allclose(stream, expected, rtol=0, atol=limit)


@pytest.mark.parametrize("frames", [1, 9])
def test_decoding_is_that_of_diffusers(golden, frames):
    vae, params, _, examples = golden
    expected = examples["decoded"][:, :frames]
    latents = examples["latents"][:, : 1 + (frames - 1) // vae.config.temporal_stride]
    whole, stream = (_run(vae, "decode", kind)(params, latents) for kind in (True, False))
    assert np.mean(np.abs(expected) < 1) > 0.5, "nearly all is clamped: nothing to compare"
    np.testing.assert_allclose(whole, expected, rtol=0, atol=1e-5)
    np.testing.assert_allclose(stream, expected, rtol=0, atol=1e-5)


def test_a_picture_is_latent_frame_0_of_diffusers_video(golden):
    """So a reference picture is one well-defined latent frame."""
    vae, params, _, examples = golden
    encode = functools.partial(_run(vae, "encode", True), params)
    video, expected = examples["video"], examples["encoded"][:, :1]
    limit = 1e-5 * np.abs(expected).max()
    np.testing.assert_allclose(encode(video[:, :1]), expected, rtol=0, atol=limit)
    assert np.abs(encode(video[:, 1:2]) - expected).max() > 0.1


def test_names_at_full_size():
    found, ours = entries(WAN), _shapes(VAE(WAN))
    shapes = {e.name: e.foreign_shape(ours[e.path]) for e in found}
    assert len(shapes) == len(found) == 194
    assert sum(map(math.prod, shapes.values())) == 126_892_531
    assert sorted(e.path for e in found) == sorted(ours)
    for name, shape in {
        "encoder.down_blocks.0.norm1.gamma": (96, 1, 1, 1),
        "encoder.down_blocks.2.resample.1.weight": (96, 96, 3, 3),
        "encoder.down_blocks.3.conv_shortcut.weight": (192, 96, 1, 1, 1),
        "encoder.down_blocks.8.time_conv.weight": (384, 384, 3, 1, 1),
        "encoder.down_blocks.10.conv2.weight": (384, 384, 3, 3, 3),
        "encoder.mid_block.attentions.0.norm.gamma": (384, 1, 1),
        "encoder.mid_block.attentions.0.to_qkv.weight": (1152, 384, 1, 1),
        "quant_conv.weight": (32, 32, 1, 1, 1),
        "post_quant_conv.bias": (16,),
        "decoder.up_blocks.0.upsamplers.0.time_conv.weight": (768, 384, 3, 1, 1),
        "decoder.up_blocks.1.resnets.0.conv_shortcut.weight": (384, 192, 1, 1, 1),
        "decoder.up_blocks.2.upsamplers.0.resample.1.weight": (96, 192, 3, 3),
        "decoder.up_blocks.3.resnets.2.norm2.gamma": (96, 1, 1, 1),
        "decoder.conv_out.weight": (3, 96, 3, 3, 3),
    }.items():
        assert shapes[name] == shape, name
    # Space only, hence no time_conv.
    assert "encoder.down_blocks.2.time_conv.weight" not in shapes
    assert "decoder.up_blocks.2.upsamplers.0.time_conv.weight" not in shapes


def test_names_at_full_size_of_wan22():
    config = VARIANTS["wan2.2"]
    found, ours = entries(config), _shapes(VAE(config))
    shapes = {e.name: e.foreign_shape(ours[e.path]) for e in found}
    assert len(shapes) == len(found) == 196
    assert sum(map(math.prod, shapes.values())) == 704_688_668
    assert sorted(e.path for e in found) == sorted(ours)
    for name, shape in {
        "encoder.conv_in.weight": (160, 12, 3, 3, 3),
        "encoder.down_blocks.0.resnets.1.conv2.weight": (160, 160, 3, 3, 3),
        "encoder.down_blocks.1.resnets.0.conv_shortcut.weight": (320, 160, 1, 1, 1),
        "encoder.down_blocks.2.downsampler.time_conv.weight": (640, 640, 3, 1, 1),
        "quant_conv.weight": (96, 96, 1, 1, 1),
        "decoder.up_blocks.0.upsampler.time_conv.weight": (2048, 1024, 3, 1, 1),
        "decoder.up_blocks.2.resnets.0.conv_shortcut.weight": (512, 1024, 1, 1, 1),
        "decoder.up_blocks.2.upsampler.resample.1.weight": (512, 512, 3, 3),
        "decoder.conv_out.weight": (12, 256, 3, 3, 3),
    }.items():
        assert shapes[name] == shape, name
    assert "encoder.down_blocks.0.downsampler.time_conv.weight" not in shapes
    assert "decoder.up_blocks.2.upsampler.time_conv.weight" not in shapes


def test_the_published_configuration_of_wan22_is_our_variant():
    config = VARIANTS["wan2.2"]
    published = {
        "_class_name": "AutoencoderKLWan",
        "base_dim": 160,
        "decoder_base_dim": 256,
        "is_residual": True,
        "in_channels": 12,
        "out_channels": 12,
        "patch_size": 2,
        "z_dim": 48,
        "latents_mean": list(config.latents_mean),
        "latents_std": list(config.latents_std),
        "scale_factor_temporal": 4,
        "scale_factor_spatial": 16,
        "clip_output": False,
    }
    assert config_from_diffusers(published, "config.json") == config
    written = config_to_diffusers(config)
    assert {field: written.get(field, False) for field in published} == published
    with pytest.raises(WeightsError, match="in_channels is 3; with patch_size 2 it must be 12"):
        config_from_diffusers(published | {"in_channels": 3}, "config.json")


def test_the_published_configuration_is_our_variant():
    assert config_from_diffusers(PUBLISHED, "config.json") == WAN
    # diffusers fills in what a file leaves out.
    assert config_from_diffusers({"_class_name": "AutoencoderKLWan"}, "config.json") == WAN
    written = config_to_diffusers(WAN)
    for field in PUBLISHED.keys() - {"_diffusers_version"}:
        assert written[field] == PUBLISHED[field], field
    assert (written["scale_factor_temporal"], written["scale_factor_spatial"]) == (4, 8)


def test_configurations_survive_a_round_trip(golden):
    config = golden[0].config
    assert config != WAN
    written = json.loads(json.dumps(config_to_diffusers(config)))
    assert config_from_diffusers(written, "config.json") == config


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("_class_name", "AutoencoderKL", "AutoencoderKLWan"),
        ("is_residual", "yes", "true or false"),
        ("attn_scales", [0.5], "only [] is supported"),
        ("patch_size", 0, "null or a whole number above 0"),
        ("in_channels", 12, "is 12; with patch_size None it must be 3"),
        ("out_channels", 12, "it must be 3"),
        ("decoder_base_dim", 0.5, "null or a whole number above 0"),
        ("base_dim", "96", "a whole number above 0"),
        ("num_res_blocks", 0, "a whole number above 0"),
        ("z_dim", True, "a whole number above 0"),
        ("dim_mult", [], "a list of whole numbers"),
        ("dim_mult", [1, 2, 4], "2"),
        ("temperal_downsample", [0, 1, 1], "true and false"),
        ("temperal_downsample", [True, True], "expected 3"),
        ("latents_mean", [0.0] * 15, "z_dim is 16"),
        ("latents_mean", [math.nan] * 16, "a list of numbers"),
        ("latents_std", [0.0] * 16, "above 0"),
        ("latents_std", None, "above 0"),
        ("use_attention_in_time", True, "not a known field"),
    ],
)
def test_what_is_not_ours_is_refused(field, value, said):
    with pytest.raises(WeightsError) as error:
        config_from_diffusers({**PUBLISHED, field: value}, "model/vae/config.json")
    expected = "temperal_downsample" if (field, value) == ("dim_mult", [1, 2, 4]) else field
    for part in ("model/vae/config.json", expected, said):
        assert part in str(error.value)


def test_all_that_is_wrong_is_listed():
    wrong = {**PUBLISHED, "is_residual": 1, "patch_size": 2, "base_dim": 0}
    with pytest.raises(WeightsError, match="(?s)base_dim.*is_residual.*in_channels is 3.*be 12"):
        config_from_diffusers(wrong, "config.json")


def test_what_diffusers_cannot_run_is_not_written():
    eight = config_from_diffusers({**PUBLISHED, "temperal_downsample": [True] * 3}, "config.json")
    with pytest.raises(WeightsError, match="8 frames"):
        config_to_diffusers(eight)
