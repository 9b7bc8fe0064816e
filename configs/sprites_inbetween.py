r"""A sprites model that fills in what lies between a first and a last frame.

Hardware: one CPU core. Commands, after those of configs/sprites_schemes.py that draw and encode
clips, of which 1,600 are enough:

    alchemint train --config configs/sprites_inbetween.py --workdir runs/sprites_inbetween
    python -m studies.inbetween --model runs/sprites_inbetween/export \
        --limit 32 --steps 10 --batch 8 \
        --out runs/inbetween.json --figure runs/inbetween.svg

The model is then in runs/sprites_inbetween/export; `--clean-keyframes` gives it both frames.

It starts from the bundled model, which was never given a frame. Nine clips of ten give their first
latent frame, clean and with a time of 0, and nine of ten of these the last one, too. The last one
holds four pixel frames, which move a little in training; where a picture is given, they stand
still.
"""

from pathlib import Path

from ml_collections import ConfigDict

from alchemint_jax.train.config import load_config

STEPS = 400


def get_config() -> ConfigDict:
    config = load_config(f"{Path(__file__).with_name('sprites.py')}:clips").unlock()
    config.data = "data/schemes_latents"
    config.vae = config.init_from = "sprites"
    config.first_frame = config.last_frame = 0.9
    config.train_text = False
    config.sampling.given_frames = True
    config.sampling.steps = 10
    config.loader.batch_size = 4
    config.loader.seed = config.train.seed = 4
    config.train.total_steps = config.train.optimizer.total_steps = STEPS
    config.train.validate_every = STEPS // 4
    config.train.checkpoint_every = STEPS // 8
    config.train.sample_every = 0
    config.train.optimizer.groups = (("backbone", 3e-3), ("added", 3e-3))
    return config.lock()
