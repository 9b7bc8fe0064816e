"""A tiny transformer, files for it, and what a file makes of its parameters."""

from __future__ import annotations

import jax
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict
from safetensors.numpy import save_file

from alchemint_jax.models.dit import DiT, DiTConfig
from alchemint_jax.weights.lora import load_loras, merge
from alchemint_jax.weights.tensors import in_memory

CONFIG = DiTConfig(
    dim=12, n_heads=2, n_layers=2, ffn_dim=20, in_channels=4, out_channels=4, text_dim=6, freq_dim=8
)
IMAGE = DiTConfig(
    dim=12, n_heads=2, n_layers=2, ffn_dim=20, in_channels=9, out_channels=4, text_dim=6,
    freq_dim=8, image_dim=10,
)  # fmt: skip
Q0 = "blocks.0.attn1.to_q"
Q0_WAN = "blocks.0.self_attn.q"


def random_params(config=CONFIG):
    shapes = DiT(config).abstract_params()
    rng = np.random.default_rng(0)
    return jax.tree.map(lambda x: rng.normal(size=x.shape).astype(np.float32), shapes)


PARAMS = random_params()


def normal(*shape, seed=2):
    return np.random.default_rng([seed, *shape]).normal(size=shape).astype(np.float32)


def pair(name, wide=12, out=12, rank=2, endings=("lora_A", "lora_B"), seed=2):
    """The two matrices of a layer, as torch has them."""
    shapes = ((rank, wide), (out, rank))
    return {
        f"{name}.{ending}.weight": normal(*shape, seed=seed)
        for ending, shape in zip(endings, shapes, strict=True)
    }


def written(path, tensors, metadata=None):
    save_file({k: np.ascontiguousarray(v) for k, v in tensors.items()}, path, metadata=metadata)
    return path


def merged(given, config=CONFIG, params=PARAMS):
    """The parameters with LoRAs, pairs of file and strength, in them."""
    tensors = {k: in_memory(x) for k, x in flatten_dict(params, sep=".").items()}
    shapes = {path: x.shape for path, x in tensors.items()}
    result = merge(tensors, load_loras(given, config, shapes))
    return unflatten_dict({tuple(k.split(".")): x.read() for k, x in result.items()})


def added(file, strength=1.0, config=CONFIG, params=PARAMS):
    """What a file changes: differences by path and row of a stacked layer; others are unchanged."""
    after = flatten_dict(merged([(file, strength)], config, params), sep=".")
    before = flatten_dict(params, sep=".")
    found = {}
    for path, x in after.items():
        difference = x - before[path]
        if not path.startswith("blocks."):
            found[path] = difference
        else:
            found |= {path.replace("blocks", f"blocks.{i}"): d for i, d in enumerate(difference)}
    return {path: d for path, d in found.items() if d.any()}


def close(found, wanted, tolerance=1e-5):
    np.testing.assert_allclose(found, wanted, rtol=tolerance, atol=tolerance)
