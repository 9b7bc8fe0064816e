r"""A sprites model that draws from words alone, and is never told when: text-to-video, as Wan's is.

It takes no pictures and no intervals. Captions name the colour and the shape of one subject, and
the background; in clips it comes and goes, and no caption says when. Hardware: 2 CPU cores.
Commands:

    alchemint data sprites --out data/sprites_words_pictures --clips 6000 --frames 1 --worded
    alchemint data encode --data data/sprites_words_pictures --vae sprites \
        --out data/sprites_words_pictures_latents
    alchemint train --config configs/sprites_words.py:pictures \
        --workdir runs/sprites_words_pictures
    alchemint train --config configs/sprites_words.py:more_pictures \
        --workdir runs/sprites_words_more_pictures
    alchemint data sprites --out data/sprites_words --clips 1600 --worded
    alchemint data encode --data data/sprites_words --vae sprites --out data/sprites_words_latents
    alchemint train --config configs/sprites_words.py:clips --workdir runs/sprites_words
    python -m studies.timing_words --model runs/sprites_words/export --limit 64 --steps 8 \
        --batch 16 --out runs/timing_words.json --figure runs/timing_words.svg

The model is then in runs/sprites_words/export. It starts from the bundled model, without its
references; what words mean is learnt from pictures, of which there are many more in an hour.
"""

from pathlib import Path

from ml_collections import ConfigDict

from alchemint_jax.train.config import load_config

PICTURES = dict(data="data/sprites_words_pictures_latents", frames=1, batch=32)
STAGES = {
    "pictures": dict(PICTURES, init_from="sprites", steps=1000, rate=5e-3, seed=6),
    "more_pictures": dict(
        PICTURES, init_from="runs/sprites_words_pictures/export", steps=2000, rate=4e-3, seed=8
    ),
    "clips": dict(
        data="data/sprites_words_latents",
        init_from="runs/sprites_words_more_pictures/export",
        frames=33,
        batch=8,
        steps=300,
        rate=4e-3,
        seed=7,
    ),
}


def get_config(stage: str = "clips") -> ConfigDict:
    if stage not in STAGES:
        raise ValueError(f"no stage {stage!r}; there are {', '.join(STAGES)}")
    chosen = STAGES[stage]
    steps, rate = chosen["steps"], chosen["rate"]
    config = load_config(f"{Path(__file__).with_name('sprites.py')}:clips").unlock()
    config.data = chosen["data"]
    config.vae = "sprites"
    config.init_from = chosen["init_from"]
    config.model.slots = 0
    config.dropout = ConfigDict(dict(pictures=0.0, text=0.1, both=0.0))
    # What a clip shows is decided where noise hides its colours.
    config.shift = 4.0
    config.sampling.min_frames = config.sampling.max_frames = chosen["frames"]
    config.sampling.text_length = 56
    config.sampling.steps = 10
    config.sampling.shift = 4.0
    config.sampling.guidance = ConfigDict(dict(text=3.0, image=0.0, both=0.0))
    config.loader.batch_size = chosen["batch"]
    config.loader.seed = config.train.seed = chosen["seed"]
    config.train.total_steps = config.train.optimizer.total_steps = steps
    config.train.validate_every = steps // 2
    config.train.checkpoint_every = steps // 10
    config.train.sample_every = 0
    config.train.optimizer.groups = (("backbone", rate), ("text", 5e-3))
    config.train.optimizer.warmup_steps = 20
    config.train.optimizer.ema_decay = 0.98
    return config.lock()
