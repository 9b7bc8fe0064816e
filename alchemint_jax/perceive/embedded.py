"""The weights that come with the package: `weights/sources.json` says whose they are."""

from __future__ import annotations

from pathlib import Path

import jax.numpy as jnp
import numpy as np

from alchemint_jax.perceive.layers import Layer
from alchemint_jax.weights import files

FOLDER = Path(__file__).parent / "weights"


def load_layers(name: str) -> dict[str, Layer]:
    """The layers of a network in float32, by name; its file stores most of them in float16."""
    stored = files.open_files([FOLDER / name])
    # NumPy converts them: JAX would compile a program for every shape.
    tensors = {k: jnp.asarray(np.asarray(v.read(), np.float32)) for k, v in stored.items()}
    names = dict.fromkeys(key.rpartition(".")[0] for key in tensors)
    return {n: Layer(tensors[f"{n}.kernel"], tensors[f"{n}.bias"]) for n in names}
