"""A tiny transformer's training task with a batch of made-up clips, for the tests."""

from __future__ import annotations

import dataclasses

import jax
import numpy as np

from alchemint_jax import sharding
from alchemint_jax.data.loader import LoaderConfig
from alchemint_jax.models.dit import DiTConfig
from alchemint_jax.models.umt5 import UMT5Config
from alchemint_jax.sampling.settings import Settings
from alchemint_jax.scene import Clock
from alchemint_jax.train import OptimizerConfig, StatePlan, jit_train_step, plan_state
from alchemint_jax.train.dit_task import DiTTask

# Three heads, which two devices cannot share evenly.
MODEL = DiTConfig(
    dim=48, n_heads=3, n_layers=2, ffn_dim=64, in_channels=4, out_channels=4,
    text_dim=16, freq_dim=16, slots=2,
)  # fmt: skip
TASK = DiTTask(
    model=MODEL,
    text=UMT5Config(vocab=259, dim=16, n_heads=2, head_dim=8, ffn_dim=32, n_layers=1),
    data="",
    vae="",
    loader=LoaderConfig(batch_size=8),
    sampling=Settings(text_length=4, tag_length=2),
    init_from="sprites",  # without which the text encoder could not be left as it is
    train_text=False,
)
RATES = (("backbone", 0.1), ("added", 0.1))


def batch(size: int = 8, slots: int = 2) -> dict[str, np.ndarray]:
    """Clips of 3 x 4 x 4 latents: 12 video tokens, 8 of references, 4 of words, 24 in all."""
    rng = np.random.default_rng(0)

    def ids(*shape):
        return rng.integers(3, 250, shape, dtype=np.int32)

    return {
        "latents": rng.standard_normal((size, 3, 4, 4, 4), np.float32),
        "references": rng.standard_normal((size, slots, 4, 4, 4), np.float32),
        "used": np.arange(slots) < rng.integers(1, slots + 1, (size, 1)),
        "intervals": np.tile(Clock(8, 9, 4).latent([[[0, 5], [7, 9]]]), (size, slots, 1, 1)),
        "text_ids": ids(size, 4),
        "text_mask": np.ones((size, 4), bool),
        "tag_ids": ids(size, slots, 2),
        "tag_mask": np.ones((size, slots, 2), bool),
    }


def optimizer(**changes) -> OptimizerConfig:
    """Adam whose first step is nearly the gradient: nothing is blown up to the size of a rate."""
    return OptimizerConfig(**({"groups": RATES, "eps": 1.0, "clip_norm": 0.0} | changes))


def plan_of(mesh, config=None, **changes) -> StatePlan:
    return plan_state(dataclasses.replace(TASK, **changes), config or optimizer(), mesh)


def trained(plan: StatePlan) -> dict:
    """A state on the host as after some training: fresh layers that are zero let nothing through.

    (Nothing is compiled for it.)
    """
    rng = np.random.default_rng(1)

    def leaf(path, x):
        mean = "norm" in jax.tree_util.keystr(path)
        return np.float32(mean + 0.2 * rng.standard_normal(x.shape))

    state = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), plan.abstract)
    weights = {name: plan.abstract[name] for name in ("params", "frozen")}
    state |= jax.tree_util.tree_map_with_path(leaf, weights)
    return state | {"ema": state["params"]}


def compiled_step(plan: StatePlan, config=None, size: int = 8):
    """The compiled training step for a batch of made-up clips; works on topologies too."""
    place = sharding.batch_sharding(plan.mesh)
    shapes = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=place), batch(size)
    )
    whole = sharding.replicated(plan.mesh)
    key = jax.eval_shape(lambda: jax.random.key(0))
    key = jax.ShapeDtypeStruct(key.shape, key.dtype, sharding=whole)
    with sharding.use_mesh(plan.mesh):
        lowered = jit_train_step(plan, config or optimizer()).lower(plan.abstract, shapes, key)
    return lowered.compile()
