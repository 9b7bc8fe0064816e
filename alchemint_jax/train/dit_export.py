"""What a training of the transformer leaves: a model directory that anything here can load."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from alchemint_jax import weights
from alchemint_jax.models.dit.remat import AUTO
from alchemint_jax.sampling import settings
from alchemint_jax.train.experts import PARTS
from alchemint_jax.weights.lora import save_lora

if TYPE_CHECKING:
    from alchemint_jax.train.dit_task import DiTTask


def export_dit(task: DiTTask, params: dict, directory: Path) -> None:
    """Writes transformer, text encoder, autoencoder and sampling settings.

    Of a pair of experts both are there, the one that waited as it was. A LoRA is merged into the
    transformer, and is also there by itself, for diffusers and for ComfyUI. The scheduler of
    `init_from` is kept as it is, for diffusers; here pipeline.json, which says what the config's
    `sampling` does, comes before it.
    """
    # What trained it may be no hardware of those who load it.
    portable = dataclasses.replace(task.model, attention="auto", remat=AUTO)
    for part, network in zip(PARTS.values(), task.experts(params), strict=True):
        if network is not None:
            weights.save(directory, part, portable, network, dtype=task.storage)
    if task.lora:
        for form in ("diffusers", "comfyui"):
            file = directory / f"lora_{form}.safetensors"
            save_lora(file, task.model, params["lora"], task.lora.scale, form)
    if task.cached_text:  # nothing has read it: it is kept as it is
        assert task.init_from is not None
        found = weights.component_folder(weights.locate(task.init_from), "text_encoder")
        shutil.copytree(found, directory / "text_encoder", dirs_exist_ok=True)
    else:
        weights.save(
            directory, "text_encoder", task.text, params["text_encoder"], dtype=task.storage
        )
    vae, vae_params = weights.load(task.vae, "vae")
    weights.save(directory, "vae", vae.config, vae_params, dtype=task.storage)
    settings.save(directory, task.sampling)
    if task.init_from is not None:
        weights.carry(weights.locate(task.init_from), directory)
