"""The weights that come with the package: `weights/sources.json` says whose they are."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import jax
import numpy as np
from safetensors import numpy as safetensors

from alchemint_jax.errors import WeightsError
from alchemint_jax.perceive.layers import Layer

FOLDER = Path(__file__).parent / "weights"
SOURCES = FOLDER / "sources.json"


def load_layers(name: str) -> dict[str, Layer]:
    """The layers of a network in float32, by name; its file stores most of them in float16.

    Raises:
        WeightsError: the file is missing, or is another one.
    """
    path = FOLDER / name
    try:
        data = path.read_bytes()
    except OSError as error:
        raise WeightsError(_mended(path, error.strerror or str(error))) from error
    source = json.loads(SOURCES.read_text("utf-8"))[name]
    if hashlib.sha256(data).hexdigest() != source["sha256"]:
        raise WeightsError(_mended(path, f"{len(data)} bytes that are not those weights"))
    # Widened by NumPy, and brought to the device as they are: `jnp.asarray` would compile a program
    # for each shape.
    stored = safetensors.load(data)
    tensors = {k: jax.device_put(v.astype(np.float32)) for k, v in stored.items()}
    names = dict.fromkeys(key.rpartition(".")[0] for key in tensors)
    return {n: Layer(tensors[f"{n}.kernel"], tensors[f"{n}.bias"]) for n in names}


def _mended(path: Path, why: str) -> str:
    """What is wrong, and what to do."""
    return (
        f"{path}: the weights of {path.stem} are part of this package and cannot be read ({why}); "
        "install the package again, or write them there again, in its repository, with "
        f"python -m studies.perceiver_weights --out {path.parent}"
    )
