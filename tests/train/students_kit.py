"""A tiny teacher of random weights and the boards that it is asked for, for tests of students."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import jax
import numpy as np
from ml_collections import ConfigDict

from alchemint_jax import weights
from alchemint_jax.data.teacher_paths import Boards
from alchemint_jax.models.dit import DiT, DiTConfig
from alchemint_jax.models.umt5 import UMT5Config, UMT5Encoder
from alchemint_jax.models.vae import VAE, VAEConfig
from alchemint_jax.sampling import Guidance, settings
from alchemint_jax.sampling.settings import Settings
from alchemint_jax.scene import Clock, Scene, Spans, Subject

SETTINGS = Settings(
    size=(16, 16), max_frames=9, text_length=24, tag_length=6, steps=8, shift=3.0,
    guidance=Guidance(text=0, image=0, both=2),
)  # fmt: skip
VAE_CONFIG = VAEConfig(
    base_dim=4, dim_mult=(1, 2, 2), num_res_blocks=1, z_dim=2, temporal_downsample=(True, True),
    latents_mean=(0.1, -0.1), latents_std=(0.8, 1.2),
)  # fmt: skip
DIT = DiTConfig(
    dim=24, n_heads=2, n_layers=1, ffn_dim=16, in_channels=2, out_channels=2, text_dim=8,
    freq_dim=8, slots=2,
)  # fmt: skip
TEXT = UMT5Config(dim=8, n_heads=2, head_dim=4, ffn_dim=8, n_layers=1)


def write_teacher(directory: Path, seed: int = 0, dit: DiTConfig = DIT) -> Path:
    """A model directory; the seed is that of the transformer."""
    rng = np.random.default_rng(seed)
    fixed = np.random.default_rng(0)

    def drawn(module, rng):
        def leaf(x):
            if len(x.shape) < 2:
                return np.float32(0.5 + 0.3 * rng.standard_normal(x.shape))
            return np.float32(rng.standard_normal(x.shape) / math.sqrt(math.prod(x.shape[:-1])))

        return jax.tree.map(leaf, module.abstract_params())

    weights.save(directory, "transformer", dit, drawn(DiT(dit), rng))
    weights.save(directory, "vae", VAE_CONFIG, drawn(VAE(VAE_CONFIG), fixed))
    weights.save(directory, "text_encoder", TEXT, drawn(UMT5Encoder(TEXT), fixed))
    settings.save(directory, SETTINGS)
    return directory


def boards(count: int = 6, seed: int = 3) -> Boards:
    """Boards with one or two subjects; the first one's comes back, so that it has two rows."""
    rng = np.random.default_rng(seed)
    clock = Clock(8, 9, 4)
    scenes = []
    for i in range(count):
        spans = [Spans([(0, 2), (4, 5), (7, 9)])] if i == 0 else [Spans([(i % 4, 8)])]
        spans += [Spans([(1, 9)])] * (i % 2)
        subjects = tuple(
            Subject(("disc", "ring")[n], own, rng.integers(0, 256, (1, 16, 16, 3), np.uint8))
            for n, own in enumerate(spans)
        )
        scenes.append(Scene(f"board {i}", f"disc number {i}", clock, subjects))
    return Boards("toys", seed, scenes)


def config(model: Path, data: Path, **changes) -> ConfigDict:
    """How a student of the tiny teacher is trained, as files in configs/ say it."""
    sampling = dataclasses.asdict(SETTINGS)
    del sampling["unipc"]
    sampling |= {"steps": 4, "guidance": {"text": 0.0, "image": 0.0, "both": 1.0}}
    sizes = {
        name: getattr(DIT, name)
        for name in ("dim", "n_heads", "n_layers", "ffn_dim", "in_channels", "out_channels")
    }
    fields = {
        "task": "distill",
        "data": str(data),
        "boards": "toys",
        "init_from": str(model),
        "vae": str(model),
        "model": sizes | {"text_dim": 8, "freq_dim": 8, "slots": 2},
        "text": dataclasses.asdict(TEXT),
        "lora": {"rank": 4, "alpha": 4.0},
        "loader": {"batch_size": 4},
        "sampling": sampling | {"distilled": True},
        "train": {
            "total_steps": 40, "log_every": 1, "validate_every": 0, "sample_every": 0,
            "checkpoint_every": 20,
            "optimizer": {"groups": (("lora", 2e-2),), "ema_decay": 0.5},
        },
    }  # fmt: skip
    return ConfigDict(fields | changes)
