"""LoRA files into the weights of a transformer."""

from __future__ import annotations

import os
from collections.abc import Mapping

import jax
import jax.numpy as jnp

from alchemint_jax.errors import NonFiniteError
from alchemint_jax.models.dit import DiT
from alchemint_jax.models.lora import merge_lora
from alchemint_jax.weights.lora import load_lora


def merge_loras(dit: DiT, params: dict, loras: Mapping[str | os.PathLike[str], float]) -> dict:
    """Parameters as `dit` holds them, with LoRA files merged, one after the other.

    Args:
        dit: the transformer.
        params: its parameters in float32: a small change may be lost where it is added to rounded
            weights.
        loras: how strongly each file counts.

    Raises:
        WeightsError: a file cannot be used.
        NonFiniteError: a sum is beyond what the dtype holds, naming file and layer.
    """
    names, held = ", ".join(f"{file} (strength {by:g})" for file, by in loras.items()), params
    for file, strength in loras.items():
        held = merge_lora(held, load_lora(file, dit.config), strength)
    held = jax.tree.map(lambda x, y: x.astype(y.dtype), held, dit.held_params())
    for path, leaf in jax.tree_util.tree_leaves_with_path(held):
        if not jnp.isfinite(leaf).all():
            layer = jax.tree_util.keystr(path, simple=True, separator=".")
            raise NonFiniteError(
                f"with {names} merged, {layer} of the transformer is not finite (NaN or infinity): "
                "the file is damaged, or too strong; lower its strength"
            )
    return held
