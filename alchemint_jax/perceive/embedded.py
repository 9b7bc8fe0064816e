"""The weights that come with the package: `weights/sources.json` says whose they are."""

from __future__ import annotations

from pathlib import Path

import jax
import numpy as np
from safetensors.numpy import load_file

from alchemint_jax.perceive.layers import Layer

FOLDER = Path(__file__).parent / "weights"


def load_layers(name: str) -> dict[str, Layer]:
    """The layers of a network in float32, by name; its file stores most of them in float16."""
    # Widened by NumPy, and brought to the device as they are: `jnp.asarray` would compile a program
    # for each shape.
    tensors = {k: jax.device_put(v.astype(np.float32)) for k, v in load_file(FOLDER / name).items()}
    names = dict.fromkeys(key.rpartition(".")[0] for key in tensors)
    return {n: Layer(tensors[f"{n}.kernel"], tensors[f"{n}.bias"]) for n in names}
