"""Every layer of the video autoencoder streams, and so does the whole of it."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from streaming import check_streams
from vae_setup import TINY, normal, random_params

from alchemint_jax.models.vae import VAE
from alchemint_jax.models.vae.model import (
    CausalConv,
    ChannelNorm,
    Downsample,
    FrameAttention,
    FrameConv,
    Middle,
    Past,
    ResidualBlock,
    Upsample,
)
from alchemint_jax.models.vae.shortcuts import folded_pairs
from alchemint_jax.models.vae.streaming import frames_at_once

pytestmark = pytest.mark.slow

OF_TIME = {
    "conv": CausalConv(2),
    "conv of a point": CausalConv(3, (1, 1, 1)),
    "residual": ResidualBlock(2),
    "residual with a shortcut": ResidualBlock(4),
    "middle": Middle(2),
    "down": Downsample(temporal=True),
    "down in space": Downsample(temporal=False),
    "up": Upsample(temporal=True),
    "up in space": Upsample(temporal=False),
}
OF_FRAMES = {"conv": FrameConv(3), "norm": ChannelNorm(), "attention": FrameAttention()}
X = normal(0, 1, 5, 2, 2, 2)
# Blocks stream one by one; two layers that resample one after the other are another matter.
SHALLOW = dataclasses.replace(TINY, dim_mult=(1, 1, 1), num_res_blocks=0)
# As Wan2.2's. Of 6 frames, the first 4 end between the two of a pair.
PATCHED = dataclasses.replace(
    SHALLOW, dim_mult=(1, 1), temporal_downsample=(True,), residual=True, patch=2
)


@pytest.mark.parametrize("name", OF_TIME)
def test_a_layer_of_time_streams(name):
    layer = OF_TIME[name]
    abstract = jax.eval_shape(lambda: layer.init(jax.random.key(0), X, Past()))["params"]
    params = random_params(abstract, 1.0)

    @jax.jit
    def step(x, state):
        past = Past(state)
        return layer.apply({"params": params}, x, past), past.kept

    check_streams(step, X, examples=3)


def test_pairs_of_a_shortcut_stream():
    x = normal(0, 1, 7, 2, 2, 4)
    check_streams(jax.jit(lambda x, state: folded_pairs(x, 8, 2, state)), x, examples=3)


@pytest.mark.parametrize("name", OF_FRAMES)
def test_a_layer_of_frames_streams(name):
    layer = OF_FRAMES[name]
    params = random_params(jax.eval_shape(layer.init, jax.random.key(0), X)["params"], 1.0)
    step = jax.jit(lambda x, state: (layer.apply({"params": params}, x), state))
    check_streams(step, X, examples=3)


@pytest.mark.parametrize(
    ("config", "frames", "method"),
    [
        (SHALLOW, 9, "encode_chunk"),
        (SHALLOW, 9, "decode_chunk"),
        # What decodes patches remembers nothing more; test_vae_layout.py has its whole and streams.
        (PATCHED, 6, "encode_chunk"),
    ],
)
def test_the_autoencoder_streams(config, frames, method):
    vae, side = VAE(config), config.spatial_stride
    params = random_params(vae.abstract_params(), 1.0)
    step = jax.jit(lambda x, state: vae.apply({"params": params}, x, state, method=method))
    clip, latents = jnp.tanh(normal(1, 1, frames, side, side, 3)), 0.5 * normal(2, 1, 4, 1, 1, 3)
    examples = 2 if config == SHALLOW else 1
    check_streams(step, clip if method == "encode_chunk" else latents, examples=examples)


def test_chunks_are_whole_and_small():
    assert [frames_at_once(count, 2**14) for count in (8, 6, 5, 0)] == [4, 2, 1, 4]
    assert [frames_at_once(8, 2**side) for side in (14, 15, 16, 20)] == [4, 2, 1, 1]


def test_a_norm_of_few_channels_is_that_of_many():
    x = normal(4, 1, 3, 2, 2, 32)
    wide, narrow = ChannelNorm(), ChannelNorm()
    many = wide.apply({"params": {"gamma": jnp.ones(32)}}, x.at[..., 8:].set(0))
    few = narrow.apply({"params": {"gamma": jnp.ones(8)}}, x[..., :8])
    np.testing.assert_allclose(few, many[..., :8] * (8 / 32) ** 0.5, rtol=1e-5)
    assert abs(few).max() > 0.1
