"""Writes a LoRA in the names that diffusers and ComfyUI read.

A layer has two matrices: `lora_A` (of ComfyUI `lora_down`) [r, in] and `lora_B` (`lora_up`)
[out, r].
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from flax.traverse_util import flatten_dict
from jaxtyping import PyTree

from alchemint_jax.errors import WeightsError, listed
from alchemint_jax.models.dit import DiTConfig
from alchemint_jax.weights import files
from alchemint_jax.weights.layouts import dit
from alchemint_jax.weights.layouts.moves import LINEAR, Entry
from alchemint_jax.weights.tensors import in_memory


def save_lora(
    path: str | os.PathLike,
    config: DiTConfig,
    lora: PyTree,
    scale: float = 1.0,
    format: str = "diffusers",
) -> Path:
    """Writes a LoRA as float32; both formats are the same function wherever they are read.

    Args:
        path: of the file, ending in .safetensors; its directory is made if absent.
        config: of the transformer.
        lora: a LoRA of `models.lora`.
        scale: factor of `a @ b`, alpha / rank.
        format: "diffusers" for `WanPipeline.load_lora_weights`, the scale in lora_B; "comfyui" for
            ComfyUI, with Wan's own names and an alpha.

    Raises:
        WeightsError: Wan has no name for a layer, or writing failed.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        raise WeightsError(f"{path}: a LoRA is written as a .safetensors file")
    leaves = {".".join(keys): np.asarray(x, np.float32) for keys, x in flatten_dict(lora).items()}
    tensors: dict[str, np.ndarray] = {}
    comfyui = format == "comfyui"
    if not comfyui and format != "diffusers":
        raise WeightsError(f"format {format!r} is neither 'diffusers' nor 'comfyui'")
    known = set()
    for name, entry in _layers(config, comfyui).items():
        layer = entry.path.removesuffix(".kernel")
        if f"{layer}.a" not in leaves:
            continue
        known.add(layer)
        a, b = (leaves[f"{layer}.{part}"] for part in "ab")
        a, b = (a, b) if entry.layer is None else (a[entry.layer], b[entry.layer])
        if comfyui:
            tensors[f"diffusion_model.{name}.lora_down.weight"] = a.T
            tensors[f"diffusion_model.{name}.lora_up.weight"] = b.T
            tensors[f"diffusion_model.{name}.alpha"] = np.asarray(scale * a.shape[-1], np.float32)
        else:
            tensors[f"transformer.{name}.lora_A.weight"] = a.T
            tensors[f"transformer.{name}.lora_B.weight"] = scale * b.T
    if unknown := sorted({name.rpartition(".")[0] for name in leaves} - known):
        raise WeightsError(
            f"{path}: Wan has no linear layer of the name {', '.join(listed(unknown))}"
        )
    stored = {name: in_memory(x) for name, x in tensors.items()}
    files.write(path.parent, path.stem, stored, {}, max_shard=2**63)
    return path


def _layers(config: DiTConfig, original: bool) -> dict[str, Entry]:
    """Linear layers by their foreign name."""
    entries = dit.original_entries(config) if original else dit.entries(config)
    return {
        entry.name.removesuffix(".weight"): entry
        for entry in entries
        if entry.move is LINEAR and entry.name.endswith(".weight")
    }
