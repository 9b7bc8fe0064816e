"""The autoencoder of the bundled sprites model, second stage: whole clips.

The first stage sees windows of nine frames, in which most frames have zeros in their past. This one
teaches the same weights the rest of the clip.

Hardware: 2 CPU cores. Command, after that of configs/sprites_vae.py:

    alchemint train --config configs/sprites_vae_long.py --workdir runs/sprites_vae_long

The weights are then in runs/sprites_vae_long/export/vae; configs/sprites.py uses them.
"""

import importlib.util
from pathlib import Path

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    path = Path(__file__).with_name("sprites_vae.py")
    spec = importlib.util.spec_from_file_location("sprites_vae", path)
    first = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(first)
    config = first.get_config().unlock()
    config.init_from = "runs/sprites_vae/export"
    config.frames = 33
    config.loader.batch_size = 2
    config.train.total_steps = config.train.optimizer.total_steps = 900
    config.train.validate_every = 300
    config.train.optimizer.groups = (("all", 1.5e-3),)
    return config.lock()
