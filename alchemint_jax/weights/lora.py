"""LoRA files in the names that diffusers and ComfyUI read, and those of others.

A file names the layers of Wan's transformer as diffusers does, or as Wan's own files do, and holds
two matrices for each: `lora_A` (or `lora_down`) [r, in] and `lora_B` (`lora_up`) [out, r]. With an
`alpha` the product counts `alpha / r`, without it counts whole.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict
from jaxtyping import PyTree
from safetensors import SafetensorError, safe_open

from alchemint_jax.errors import WeightsError, listed
from alchemint_jax.models.dit import DiTConfig
from alchemint_jax.weights import files
from alchemint_jax.weights.layouts import dit
from alchemint_jax.weights.layouts.moves import LINEAR, Entry

_ENDINGS = {
    f".{name}{adapter}.weight": part
    for part, names in (("a", ("lora_A", "lora_down")), ("b", ("lora_B", "lora_up")))
    for name in names
    for adapter in ("", ".default")  # peft's own name of the adapter, which some scripts leave in
} | {".alpha": "alpha"}
_METADATA = "lora_adapter_metadata"  # of diffusers: a peft configuration as JSON


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
    stored = {name: files.in_memory(x) for name, x in tensors.items()}
    files.write(path.parent, path.stem, stored, {}, max_shard=2**63)
    return path


def load_lora(path: str | os.PathLike, config: DiTConfig) -> dict[str, Any]:
    """Reads a LoRA for a transformer; scales are in its `b`, so that `merge_lora` takes it as is.

    Layers of the network that the file leaves out, and ranks smaller than the largest of a stack
    of layers, are filled with zeros.

    Args:
        path: a safetensors file from diffusers, ComfyUI, musubi-tuner or `save_lora`.
        config: of the transformer it is for.

    Raises:
        WeightsError: the file is damaged or no LoRA, or does not fit the transformer; what is
            wrong is listed at once.
    """
    path = Path(path)
    if not path.is_file():
        raise WeightsError(f"{path}: there is no such LoRA file")
    found = files.open_files([path])
    layers = _spellings(config)
    parts: dict[tuple[str, int | None], dict[str, Any]] = {}
    unknown = []
    for name, tensor in found.items():
        ending = next((e for e in _ENDINGS if name.endswith(e)), "")
        entry = layers.get(name.removesuffix(ending))
        if not ending or entry is None or tensor.dtype not in files.DTYPES:
            unknown.append(f"{name} {list(tensor.shape)} {tensor.dtype}")
            continue
        key = (entry.path.removesuffix(".kernel"), entry.layer)
        into = parts.setdefault(key, {"name": name.removesuffix(ending)})
        if _ENDINGS[ending] in into:
            unknown.append(f"{name}: the same layer is there twice")
        into[_ENDINGS[ending]] = tensor
    problems = files.listing("that the model has no place for", unknown)
    shapes = _shapes(config)
    broken = [
        f"{part['name']}: {why}" for (layer, _), part in parts.items()
        if (why := _misfit(part, shapes[layer]))
    ]  # fmt: skip
    problems += files.listing("that are not two matrices of the layer's size", broken)
    if not parts and not problems:
        problems = ["  it holds no tensors"]
    if problems:
        raise WeightsError("\n".join([f"{path} is not a LoRA for this model:", *problems]))
    return unflatten_dict(_stacked(parts, shapes, config, _file_alpha(path)))


def _stacked(
    parts: Mapping[tuple[str, int | None], Mapping[str, Any]],
    shapes: Mapping[str, tuple[int, int]],
    config: DiTConfig,
    file_alpha: float | None,
) -> dict[tuple[str, ...], np.ndarray]:
    ranks: dict[str, int] = {}
    for (layer, _), part in parts.items():
        ranks[layer] = max(ranks.get(layer, 1), part["a"].shape[0])
    leaves: dict[tuple[str, ...], np.ndarray] = {}
    for (layer, row), part in parts.items():
        wide, out = shapes[layer]
        lead = () if row is None else (config.n_layers,)
        keys, rank = tuple(layer.split(".")), ranks[layer]
        a = leaves.setdefault((*keys, "a"), np.zeros((*lead, wide, rank), np.float32))
        b = leaves.setdefault((*keys, "b"), np.zeros((*lead, rank, out), np.float32))
        r = part["a"].shape[0]
        alpha = file_alpha
        if "alpha" in part:
            alpha = float(np.asarray(part["alpha"].read(None), np.float32).reshape(()))
        at = () if row is None else (row,)
        a[(*at, slice(None), slice(r))] = np.asarray(part["a"].read(None), np.float32).T
        b[(*at, slice(r))] = np.asarray(part["b"].read(None), np.float32).T
        b[(*at, slice(r))] *= 1.0 if alpha is None else alpha / r
    return leaves


def _layers(config: DiTConfig, original: bool) -> dict[str, Entry]:
    """Linear layers by their foreign name."""
    entries = dit.original_entries(config) if original else dit.entries(config)
    return {
        entry.name.removesuffix(".weight"): entry
        for entry in entries
        if entry.move is LINEAR and entry.name.endswith(".weight")
    }


def _spellings(config: DiTConfig) -> dict[str, Entry]:
    """Linear layers by every name that files are known to give them."""
    found: dict[str, Entry] = {}
    for original in (False, True):
        for name, entry in _layers(config, original).items():
            for prefix in ("", "transformer.", "diffusion_model.", "base_model.model."):
                found[prefix + name] = entry
            found["lora_unet_" + name.replace(".", "_")] = entry  # kohya's, musubi-tuner's
    return found


def _shapes(config: DiTConfig) -> dict[str, tuple[int, int]]:
    """(in, out) of every linear layer, without the axis of stacked layers."""
    from alchemint_jax.models.dit import DiT

    params = flatten_dict(DiT(config).abstract_params())
    return {".".join(k[:-1]): x.shape[-2:] for k, x in params.items() if k[-1] == "kernel"}


def _misfit(part: Mapping[str, Any], shape: tuple[int, int]) -> str:
    if "a" not in part or "b" not in part:
        return "only one of two matrices is there"
    a, b = part["a"].shape, part["b"].shape
    wide, out = shape
    if len(a) != 2 or len(b) != 2 or a[1] != wide or b[0] != out or a[0] != b[1]:
        return f"{list(a)} and {list(b)}, the layer is [{out}, {wide}]"
    if "alpha" in part and int(np.prod(part["alpha"].shape)) != 1:
        return f"alpha is {list(part['alpha'].shape)}, not one number"
    return ""


def _file_alpha(path: Path) -> float | None:
    """The alpha of all layers that diffusers may have written beside the tensors.

    Raises:
        WeightsError: it describes more than plain LoRA.
    """
    try:
        with safe_open(path, framework="np") as f:
            text = (f.metadata() or {}).get(_METADATA)
    except (SafetensorError, OSError) as e:
        raise WeightsError(f"{path} is truncated or not a safetensors file ({e})") from e
    if text is None:
        return None
    try:
        fields = {k.removeprefix("transformer."): v for k, v in json.loads(text).items()}
        strange = [
            f"{name}={fields[name]!r}"
            for name in ("use_rslora", "use_dora", "alpha_pattern", "lora_bias")
            if fields.get(name)
        ]
        if strange:
            raise WeightsError(f"{path}: {', '.join(strange)} of its metadata is not supported")
        return None if fields.get("lora_alpha") is None else float(fields["lora_alpha"])
    except (ValueError, TypeError, AttributeError) as e:
        raise WeightsError(f"{path}: its metadata {_METADATA} is damaged: {e}") from e
