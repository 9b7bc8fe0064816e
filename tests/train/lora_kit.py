"""A tiny model in the manner of Wan, and what tests of fine-tuning do with it."""

from __future__ import annotations

import dataclasses
from functools import partial

import jax
import numpy as np

from alchemint_jax.models.dit import DiT, DiTConfig
from alchemint_jax.models.lora import LoraConfig
from alchemint_jax.models.umt5 import UMT5Config

WAN = DiTConfig(
    dim=24, n_heads=2, n_layers=2, ffn_dim=32, in_channels=8, out_channels=8, text_dim=12,
    freq_dim=16, patch=(1, 4, 4),
)  # fmt: skip
TEXT = UMT5Config(dim=12, n_heads=2, head_dim=6, ffn_dim=16, n_layers=1)
KEY = jax.random.key(0)
LORA = LoraConfig(rank=2, alpha=3.0)
OURS = dataclasses.replace(WAN, slots=3)


def drawn(shapes, seed, size=0.1):
    """Parameters of which none is zero or one, as after some training."""
    rng = np.random.default_rng(seed)

    def leaf(path, x):
        around = (
            1 if jax.tree_util.keystr(path).endswith(("scale']", "norm_q']", "norm_k']")) else 0
        )
        return (around + size * rng.normal(size=x.shape)).astype(np.float32)

    return jax.tree_util.tree_map_with_path(leaf, shapes)


def same(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)


def size(tree):
    return sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(tree))


@partial(jax.jit, static_argnums=0)
def velocity(config, variables, given):
    return DiT(config).apply(variables, **given)


def inputs(config=WAN, references=False):
    rng, shapes = np.random.default_rng(0), jax.eval_shape(DiT(config).example_inputs)
    first = ["latents", "text", "time"]  # the same of each model, whatever else it takes
    found = {
        name: np.float32(rng.normal(size=(2, *shapes[name].shape[1:])))
        for name in [*first, *sorted(shapes.keys() - {*first})]
    }
    found["time"] = np.float32([0.3, 0.8])
    if references:
        found["used"] = np.zeros((2, config.slots), bool)
        found["intervals"] = np.zeros((2, config.slots, 1, 2), np.float32)
        found["tag_mask"] = np.ones((2, config.slots, 1), bool)
    return jax.device_put(found)
