"""Videos by diffusers, in PyTorch. Imported only where it is asked for."""

from __future__ import annotations

import numpy as np
import torch
from diffusers import WanPipeline

from alchemint_jax.bench import torch_side
from alchemint_jax.bench.peers import Asked, Make, Peer
from alchemint_jax.sampling.pipeline import Pipeline


def peer(platform: str) -> Peer:
    """What it is next to JAX on a platform; a ConfigError where PyTorch cannot run."""
    where = torch_side.place(platform)
    return Peer(
        "diffusers",
        ("torch", "diffusers", "transformers"),
        lambda asked, ours: load(asked, ours, where),
    )


def load(asked: Asked, ours: Pipeline, where: torch.device) -> Make:
    """The pipeline as diffusers reads it, its own text encoder and scheduler included."""
    pipe = WanPipeline.from_pretrained(asked.model, local_files_only=True)
    pipe = pipe.to(where, torch.float32)
    pipe.set_progress_bar_config(disable=True)
    states, empty = pipe.encode_prompt(
        asked.prompt,
        negative_prompt="",
        do_classifier_free_guidance=True,
        max_sequence_length=ours.settings.text_length,
    )
    noise = torch.from_numpy(asked.noise[None]).permute(0, 4, 1, 2, 3).to(where)

    def make() -> np.ndarray:
        frames = pipe(
            prompt_embeds=states,
            negative_prompt_embeds=empty,
            height=asked.size[0],
            width=asked.size[1],
            num_frames=asked.frames,
            num_inference_steps=asked.steps,
            guidance_scale=asked.scale,
            latents=noise,
            output_type="np",
        ).frames[0]
        return (frames * 255 + 0.5).astype(np.uint8)

    return make
