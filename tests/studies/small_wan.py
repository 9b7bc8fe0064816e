"""configs/wan_1_3b.py and its student, so small that a CPU measures them in seconds."""

from __future__ import annotations

from pathlib import Path

from ml_collections import ConfigDict

from alchemint_jax.train.config import load_config

WAN = Path(__file__).parents[2] / "configs" / "wan_1_3b.py"


def get_config(kind: str = "full") -> ConfigDict:
    config = load_config(f"{WAN}:{kind}", [])
    with config.unlocked():
        config.model.update(
            dict(dim=16, n_heads=1, n_layers=1, ffn_dim=16, in_channels=8, out_channels=8)
        )
        config.vae = "sprites"
        config.sampling.text_length = 8
        config.sampling.size_multiple = 8
    return config
