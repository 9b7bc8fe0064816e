"""Videos by DiffSynth-Studio, in PyTorch. Imported only where it is asked for.

It reads weights in Wan's own names, and knows models by them; a model of other sizes is built here
from its classes. It is given our states of the prompt, since text encoders in Wan's own format are
pickles. Its solver is Euler's, on its own grid.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from diffsynth.models.wan_video_dit import WanModel
from diffsynth.models.wan_video_vae import VideoVAE_, WanVideoVAE
from diffsynth.pipelines.wan_video import (
    WanVideoPipeline,
    WanVideoUnit_NoiseInitializer,
    WanVideoUnit_PromptEmbedder,
)

from alchemint_jax import weights
from alchemint_jax.bench import torch_side
from alchemint_jax.bench.peers import Asked, Make, Peer
from alchemint_jax.errors import ConfigError
from alchemint_jax.models.dit import DiTConfig
from alchemint_jax.models.vae import VAEConfig
from alchemint_jax.sampling.pipeline import Pipeline
from alchemint_jax.scene.clock import Clock
from alchemint_jax.scene.scene import Scene
from alchemint_jax.weights import wan
from alchemint_jax.weights.layouts import vae_original
from alchemint_jax.weights.tensors import Tensor

_SETTINGS = {
    "solver": "euler",
    "grid": "linear",
    "shift_terminal": None,
    "final_sigmas_type": "zero",
}


def peer(platform: str) -> Peer:
    """What it is next to JAX on a platform; a ConfigError where PyTorch cannot run."""
    where = torch_side.place(platform)
    return Peer(
        "diffsynth",
        ("torch", "diffsynth", "transformers"),
        lambda asked, ours: load(asked, ours, where),
        _SETTINGS,
    )


def load(asked: Asked, ours: Pipeline, where: torch.device) -> Make:
    """Its pipeline around networks of the same weights."""
    models = ours.models
    pipe = WanVideoPipeline(device=str(where), torch_dtype=torch.float32)
    pipe.dit = _transformer(models.dit.config, asked).to(where).eval().requires_grad_(False)
    pipe.vae = _autoencoder(models.vae.config, asked).to(where).eval().requires_grad_(False)
    clock = Clock(ours.fps, asked.frames, ours.limits.stride)
    scene = Scene("clip", asked.prompt, clock, size=asked.size)
    found = ours.conditions([scene], "")
    states = {
        text: torch.from_numpy(np.array(x)).to(where)
        for text, x in ((asked.prompt, found.text), ("", found.null_text))
    }
    noise = torch.from_numpy(asked.noise[None]).permute(0, 4, 1, 2, 3).to(where)
    pipe.units = [_given(unit, states, noise) for unit in pipe.units]

    def make() -> np.ndarray:
        with torch.inference_mode():
            video = pipe(
                prompt=asked.prompt,
                negative_prompt="",
                height=asked.size[0],
                width=asked.size[1],
                num_frames=asked.frames,
                num_inference_steps=asked.steps,
                cfg_scale=asked.scale,
                sigma_shift=asked.shift,
                tiled=False,
                progress_bar_cmd=lambda steps: steps,
                output_type="floatpoint",
            )
        frames = video[0].permute(1, 2, 3, 0).float().cpu().numpy()
        return (frames.clip(-1, 1) * 127.5 + 128).astype(np.uint8)

    return make


def _given(unit: Any, states: Mapping[str, torch.Tensor], noise: torch.Tensor) -> Any:
    """A unit of the pipeline, which does not encode texts or draw noise of its own."""
    if isinstance(unit, WanVideoUnit_PromptEmbedder):
        unit.encode_prompt = lambda pipe, prompt: states[prompt]
    if isinstance(unit, WanVideoUnit_NoiseInitializer):
        unit.process = lambda pipe, **asked: {"noise": noise}
    return unit


def _transformer(config: DiTConfig, asked: Asked) -> torch.nn.Module:
    if config.image_dim:
        raise ConfigError(f"{asked.model}: continues pictures; this measures videos of text")
    model = WanModel(
        dim=config.dim,
        in_dim=config.in_channels,
        ffn_dim=config.ffn_dim,
        out_dim=config.out_channels,
        text_dim=config.text_dim,
        freq_dim=config.freq_dim,
        eps=1e-6,
        patch_size=config.patch,
        num_heads=config.n_heads,
        num_layers=config.n_layers,
        has_image_input=False,
    )
    tensors = weights.open_component(asked.model, "transformer")[1]
    _fill(model, wan.from_ours(wan.ORIGINAL.entries(config), tensors))
    return model


def _autoencoder(config: VAEConfig, asked: Asked) -> torch.nn.Module:
    if config.residual:
        raise ConfigError(f"{asked.model}: has Wan2.2's autoencoder; this measures Wan2.1's")
    model = WanVideoVAE(config.z_dim)
    model.mean, model.std = torch.tensor(config.latents_mean), torch.tensor(config.latents_std)
    model.scale = [model.mean, 1 / model.std]
    model.model = VideoVAE_(
        dim=config.base_dim,
        z_dim=config.z_dim,
        dim_mult=list(config.dim_mult),
        num_res_blocks=config.num_res_blocks,
        temperal_downsample=list(config.temporal_downsample),
    )
    tensors = weights.open_component(asked.model, "vae")[1]
    _fill(model.model, wan.from_ours(vae_original.entries(config), tensors))
    return model


def _fill(model: torch.nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Gives a module all of its parameters, and nothing that it has not."""
    read = {name: torch.from_numpy(np.array(x.read())).float() for name, x in tensors.items()}
    model.load_state_dict(read)
