"""The condition of given frames, live against diffusers' image-to-video pipeline."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest
import torch
from diffusers import AutoencoderKLWan, WanImageToVideoPipeline

from alchemint_jax.models.dit.keyframes import keyframe_condition
from alchemint_jax.scene import Clock


@pytest.fixture(scope="module")
def pipeline():
    torch.manual_seed(0)
    vae = AutoencoderKLWan(
        base_dim=8, z_dim=16, dim_mult=[1, 2, 2, 2], num_res_blocks=1,
        temperal_downsample=[False, True, True],
    ).eval()  # fmt: skip
    return WanImageToVideoPipeline(tokenizer=None, text_encoder=None, vae=vae, scheduler=None)


@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("frames", [5, 9, 17])
def test_condition(pipeline, frames, both):
    vae, rng = pipeline.vae, np.random.default_rng(frames)
    first, last = rng.uniform(-1, 1, (2, 1, 32, 48, 3)).astype(np.float32)
    mean, std = (np.float32(getattr(vae.config, f"latents_{x}")) for x in ("mean", "std"))

    def encode(video):
        given = torch.from_numpy(np.moveaxis(np.array(video), -1, 1).copy())
        with torch.no_grad():
            latents = vae.encode(given).latent_dist.mode().numpy()
        return jnp.asarray((np.moveaxis(latents, 1, -1) - mean) / std)

    def tensor(x):
        return torch.from_numpy(np.moveaxis(x, -1, 1).copy())

    with torch.no_grad():
        _, theirs = pipeline.prepare_latents(
            tensor(first), batch_size=2, height=32, width=48, num_frames=frames,
            dtype=torch.float32, device="cpu", last_image=tensor(last) if both else None,
        )  # fmt: skip
    given = {0: first[0]} | ({frames - 1: last[0]} if both else {})
    ours = keyframe_condition(encode, Clock(16, frames, 4), [given])
    theirs = np.moveaxis(theirs.numpy(), 1, -1)
    np.testing.assert_array_equal(ours[0, ..., :4], theirs[0, ..., :4])
    for sample in theirs:
        np.testing.assert_allclose(ours[0, ..., 4:], sample[..., 4:], rtol=1e-5, atol=1e-5)
