"""The small decoder: its formula, its streams, and that it keeps the autoencoder's time."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from streaming import check_streams
from vae_setup import normal, random_params

from alchemint_jax.errors import ConfigError
from alchemint_jax.models.vae import (
    VAE,
    VARIANTS,
    TinyDecoder,
    TinyDecoderConfig,
    VAEConfig,
    tiled_decode,
)
from alchemint_jax.scene.clock import Clock

pytestmark = pytest.mark.slow

TINY = TinyDecoderConfig(3, (6, 4, 4), (1, 2), memory_blocks=1)
PATCHED = TinyDecoderConfig(4, (5, 4), (4,), memory_blocks=2, patch=2)


def _made(config):
    """A decoder, and parameters with which most of what it gives is no black or white."""
    decoder = TinyDecoder(config)
    params = random_params(decoder.abstract_params(), 1.0)
    params["conv_out"] = jax.tree.map(lambda x: 0.3 * x, params["conv_out"])
    return decoder, params


def _conv(x, p):
    """Of one frame [h w c], float64."""
    kernel = np.asarray(p["kernel"], np.float64)
    size = kernel.shape[0]
    padded = np.pad(x, ((size // 2,) * 2, (size // 2,) * 2, (0, 0)))
    h, w = x.shape[:2]
    y = sum(padded[i : i + h, j : j + w] @ kernel[i, j] for i in range(size) for j in range(size))
    return y + np.asarray(p.get("bias", 0.0), np.float64)


def _decoded(config, params, latents):
    """Frame after frame, each block with the one input that it remembers."""
    remembered: dict[str, np.ndarray] = {}

    def memory(name, x):
        p = params[name]
        y = np.concatenate([x, remembered.get(name, np.zeros_like(x))], axis=-1)
        remembered[name] = x
        y = np.maximum(_conv(np.maximum(_conv(y, p["conv1"]), 0), p["conv2"]), 0)
        return np.maximum(_conv(y, p["conv3"]) + x, 0)

    def stages(x, i):
        if i == len(config.temporal_upsample):
            y = _conv(np.maximum(x, 0), params["conv_out"])
            q = config.patch
            h, w = y.shape[:2]
            y = y.reshape(h, w, 3, q, q).transpose(0, 3, 1, 4, 2).reshape(h * q, w * q, 3)
            return [y]
        for j in range(config.memory_blocks):
            x = memory(f"stage{i}_memory{j}", x)
        x = _conv(x.repeat(2, 0).repeat(2, 1), params[f"stage{i}_grow"])
        made = np.split(x, config.temporal_upsample[i], axis=-1)
        return [z for y in made for z in stages(_conv(y, params[f"stage{i}_out"]), i + 1)]

    frames = []
    for z in np.asarray(latents, np.float64):
        x = np.maximum(_conv(3 * np.tanh(z / 3), params["conv_in"]), 0)
        frames += stages(x, 0)
    return np.clip(2 * np.stack(frames[config.temporal_stride - 1 :]) - 1, -1, 1)


@pytest.mark.parametrize("config", [TINY, PATCHED])
def test_it_is_its_formula(config):
    decoder, params = _made(config)
    latents = 2 * normal(1, 1, 4, 2, 3, config.z_dim)
    video = jax.jit(lambda z: decoder.apply({"params": params}, z, method="decode"))(latents)
    expected = _decoded(config, params, latents[0])
    assert np.mean(np.abs(expected) < 1) > 0.3, "nearly all is clipped: nothing to compare"
    np.testing.assert_allclose(video[0], expected, atol=2e-5)


def test_it_streams():
    decoder, params = _made(TINY)
    step = jax.jit(
        lambda z, state: decoder.apply({"params": params}, z, state, method="decode_chunk")
    )
    check_streams(step, normal(2, 1, 5, 2, 2, 3), examples=4)


def test_shape_and_timing_are_the_autoencoders():
    """A latent frame changes the pixel frames that hold it in the autoencoder, and later ones."""
    vae = VAE(VAEConfig(4, (1, 1, 1), 1, 3, (True, True), (0.0,) * 3, (1.0,) * 3))
    tiny, params = _made(TinyDecoderConfig(3, (6, 4, 4), (2, 2), memory_blocks=1))
    run = jax.jit(lambda z: tiny.apply({"params": params}, z, method="decode"))
    latents = normal(3, 1, 4, 2, 2, 3)
    plain = run(latents)
    of_vae = jax.eval_shape(
        lambda p, z: vae.apply({"params": p}, z, method="decode"), vae.abstract_params(), latents
    )
    assert plain.shape == of_vae.shape == (1, 13, 8, 8, 3)
    for i in range(4):
        changed = np.abs(run(latents.at[:, i].add(1.0)) - plain).max((0, 2, 3, 4)) > 1e-6
        assert np.argmax(changed) == Clock.for_latents(4, 4).held([i, i])[0]


def test_tiles_serve_it_too():
    decoder, params = _made(PATCHED)
    latents = normal(4, 1, 2, 8, 16, 4)
    video = jax.jit(lambda z: tiled_decode(decoder, params, z, tile=32, overlap=16))(latents)
    assert video.shape == (1, 5, 32, 64, 3) and np.isfinite(video).all()


def test_what_is_not_finite_is_not_a_colour():
    decoder, params = _made(TINY)
    params["conv_out"]["bias"] = params["conv_out"]["bias"].at[0].set(jnp.inf)
    run = jax.jit(lambda z: decoder.apply({"params": params}, z, method="decode"))
    video = np.asarray(run(normal(5, 1, 1, 2, 2, 3)))
    assert np.isnan(video[..., 0]).all() and np.isfinite(video[..., 1:]).all()


def test_the_published_sizes():
    """Of taew2_1 and taew2_2; 64 of the 128 tensors of their files are of the decoder."""
    config = TinyDecoderConfig()
    leaves = jax.tree.leaves(TinyDecoder(config).abstract_params())
    assert (len(leaves), sum(math.prod(x.shape) for x in leaves)) == (64, 9_844_611)
    for name, tiny in (("wan2.1", config), ("wan2.2", TinyDecoderConfig(z_dim=48, patch=2))):
        wan = VARIANTS[name]
        assert (wan.temporal_stride, wan.spatial_stride, wan.z_dim) == (
            tiny.temporal_stride,
            tiny.spatial_stride,
            tiny.z_dim,
        )
    with pytest.raises(ConfigError, match="one more than temporal_upsample, which has 2"):
        TinyDecoderConfig(16, (8, 8), (2, 2))
