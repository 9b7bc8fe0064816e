"""A tiny task for the tests: a small network fitted to a fixed function."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import Any

import flax.linen as nn
import grain
import jax
import jax.numpy as jnp
import numpy as np
from toy_world import Pipe

from alchemint_jax import train
from alchemint_jax.data.loader import shared
from alchemint_jax.data.share import WHOLE


class Mlp(nn.Module):
    width: int = 16

    @nn.compact
    def __call__(self, x):
        boxed = nn.with_logical_partitioning
        lecun = nn.initializers.lecun_normal()
        x = nn.Dense(self.width, kernel_init=boxed(lecun, (None, "embed")), name="into")(x)
        x = nn.Dense(self.width, kernel_init=boxed(lecun, ("embed", "mlp")), name="mid")(nn.gelu(x))
        return nn.Dense(3, kernel_init=boxed(lecun, ("embed", None)), name="out")(nn.gelu(x))


class Noise(grain.transforms.RandomMap):
    def random_map(self, element, rng):
        x = np.random.default_rng(int(element)).normal(size=4).astype(np.float32)
        y = np.stack([np.sin(x[0]), x[1] * x[2], np.abs(x[3])]).astype(np.float32)
        return {"x": x + 0.01 * rng.normal(size=4).astype(np.float32), "y": y}


@dataclasses.dataclass(frozen=True)
class ToyTask:
    batch: int = 16
    width: int = 16
    noise: float = 0.1
    nan_at: int = -1  # index of the first example whose loss is not a number
    pause: float = 0.0
    slow_group: bool = False

    @property
    def module(self):
        return Mlp(self.width)

    def init(self, key):
        return self.module.init(key, jnp.zeros((1, 4)))["params"]

    def loss(self, params, batch, key):
        x = batch["x"] + self.noise * jax.random.normal(key, batch["x"].shape)
        error = self.module.apply({"params": params}, x) - batch["y"]
        return jnp.mean(error**2), {"worst": jnp.max(jnp.abs(error))}

    def train_data(self, share=WHOLE):
        def spoil(index, element):
            time.sleep(self.pause / self.batch)
            bad = self.nan_at >= 0 and index >= self.nan_at
            return element | {"y": element["y"] * np.float32("nan" if bad else 1)}

        dataset = grain.MapDataset.source(np.arange(64)).seed(7).shuffle().repeat()
        dataset = shared(dataset.random_map(Noise()).map_with_index(spoil), share, self.batch)
        return dataset.batch(self.batch).to_iter_dataset(
            grain.ReadOptions(num_threads=2, prefetch_buffer_size=4)
        )

    def validation_data(self, share=WHOLE):
        noise, rng = Noise(), np.random.default_rng(0)
        items = [noise.random_map(1000 + i, rng) for i in range(self.batch)]
        return [{k: np.stack([item[k] for item in items]) for k in ("x", "y")}]

    def sample(self, params):
        return {}

    def pipeline(self, params):
        return Pipe(params)

    def export(self, params, directory):
        directory.mkdir(parents=True, exist_ok=True)
        leaves = jax.tree_util.tree_leaves_with_path(params)
        np.savez(directory / "weights.npz", **{jax.tree_util.keystr(k): v for k, v in leaves})

    def label(self, path):
        return "slow" if self.slow_group and path.startswith("out/") else "all"


def config(total_steps: int = 8, **changes) -> train.TrainConfig:
    optimizer = {"groups": (("all", 1e-2),), "weight_decay": 1e-2, "ema_decay": 0.9}
    optimizer |= changes.pop("optimizer", {})
    periods = {"log_every": 2, "validate_every": 0, "sample_every": 0, "checkpoint_every": 5}
    return train.TrainConfig(
        total_steps=total_steps,
        optimizer=train.OptimizerConfig(**optimizer),
        **(periods | changes),
    )


def main(workdir: Path, pause: float, options: dict[str, Any]) -> None:
    """One run in a process of its own."""
    result = train.fit(ToyTask(pause=pause), config(**options), workdir)
    print("interrupted" if result.interrupted else "finished", result.step, flush=True)
