"""Small autoencoders of diffusers (`AutoencoderKLWan`) with random weights, and what they give."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKLWan
from safetensors.numpy import save_file

GOLDENS = {
    "wan": {"base_dim": 4, "dim_mult": [1, 2, 4, 4], "temperal_downsample": [False, True, True]},
    "small": {
        "base_dim": 2,
        "dim_mult": [2, 3],
        "temperal_downsample": [True],
        "num_res_blocks": 1,
    },
    # Wan2.2's: patches, shortcuts around stages, a wider decoder.
    "wan22": {
        "base_dim": 2,
        "decoder_base_dim": 3,
        "dim_mult": [1, 2, 2],
        "temperal_downsample": [False, True],
        "num_res_blocks": 1,
        "is_residual": True,
        "patch_size": 2,
    },
}


def build(seed: int = 0, z_dim: int = 4, num_res_blocks: int = 2, **fields) -> AutoencoderKLWan:
    """A network that no wrong mapping can pass through: every tensor is drawn at random."""
    rng = np.random.default_rng(seed)
    patch = fields.get("patch_size") or 1
    model = AutoencoderKLWan(
        z_dim=z_dim,
        num_res_blocks=num_res_blocks,
        in_channels=3 * patch**2,
        out_channels=3 * patch**2,
        latents_mean=rng.normal(size=z_dim).tolist(),
        latents_std=rng.uniform(0.5, 2, z_dim).tolist(),
        **fields,
    ).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = rng.normal(size=parameter.shape)
            if name.endswith("gamma"):
                value = 1 + 0.3 * noise
            elif name.endswith("bias"):
                value = 0.2 * noise
            else:
                value = noise / math.sqrt(math.prod(parameter.shape[1:]))
            parameter.copy_(torch.from_numpy(value))
        model.decoder.conv_out.weight *= 0.5  # most of a decoded video lies within [-1, 1]
    return model


def cell(fields: dict) -> int:
    """Pixels along each side of a latent cell."""
    return (fields.get("patch_size") or 1) * 2 ** (len(fields["dim_mult"]) - 1)


def video(seed: int, *shape: int) -> np.ndarray:
    """[b, 3, f, h, w] in [-1, 1]."""
    return np.tanh(np.random.default_rng(seed).normal(size=shape)).astype(np.float32)


def normalisation(model: AutoencoderKLWan, like: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Mean and deviation as pipeline_wan.py applies them outside of the network."""
    shape = (1, -1, 1, 1, 1)
    mean, std = model.config.latents_mean, model.config.latents_std
    return tuple(torch.tensor(x).view(shape).to(like) for x in (mean, std))


@torch.no_grad()
def encode(model: AutoencoderKLWan, video: np.ndarray) -> np.ndarray:
    """Normalised posterior mean [b, c, t, h, w], in the network's precision."""
    raw = model.encode(torch.from_numpy(video).to(model.dtype)).latent_dist.mode()
    mean, std = normalisation(model, raw)
    return ((raw - mean) / std).float().numpy()


@torch.no_grad()
def decode(model: AutoencoderKLWan, latents: np.ndarray) -> np.ndarray:
    """Video [b, 3, f, h, w] of normalised latents, in the network's precision."""
    z = torch.from_numpy(latents).to(model.dtype)
    mean, std = normalisation(model, z)
    return model.decode(z * std + mean).sample.float().numpy()


def write(directory: Path) -> None:
    """Each autoencoder in a model's directory, with a clip, its latents, latents, their video."""
    for seed, (name, fields) in enumerate(GOLDENS.items()):
        model = build(seed, **fields)
        model.save_pretrained(directory / name / "vae")
        side = cell(fields)
        clip = video(seed, 1 + seed % 2, 3, 9, 3 * side, 5 * side)
        encoded = encode(model, clip)
        latents = np.random.default_rng(seed + 10).normal(size=encoded.shape).astype(np.float32)
        tensors = {
            "video": clip,
            "encoded": encoded,
            "latents": latents,
            "decoded": decode(model, latents),
        }
        save_file(tensors, directory / name / "io.safetensors")
