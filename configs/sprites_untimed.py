r"""A sprites model that draws as the bundled one does and knows no time: what control is tried on.

Its references sit at time 0, whatever their intervals (NoInterval). Half of the clips that it
learns from have lost their pictures; for drawing from words alone that was not enough. It starts
from the bundled model, as a LoRA that unlearns the times. Hardware: 2 CPU cores. Commands, after
those of configs/sprites_schemes.py that draw and encode clips, of which 3,200 are enough:

    alchemint train --config configs/sprites_untimed.py --workdir runs/sprites_untimed

The whole model is then in runs/sprites_untimed/export. What comes with the package as
`sprites/untimed` is the LoRA alone, which is added to `sprites` as it is loaded:

    python -m studies.fast_weights --model runs/sprites_untimed/export \
        --out runs/sprites_untimed/bundle
"""

from pathlib import Path

from ml_collections import ConfigDict

from alchemint_jax.train.config import load_config

STEPS = 320
RATE = 3e-3


def get_config() -> ConfigDict:
    config = load_config(f"{Path(__file__).with_name('sprites.py')}:clips").unlock()
    config.data = "data/schemes_latents"
    config.vae = config.init_from = "sprites"
    config.model.scheme = ConfigDict(dict(name="NoInterval"))
    config.lora = ConfigDict(dict(rank=32, alpha=32.0, targets=("self_attn", "cross_attn", "ffn")))
    config.dropout = ConfigDict(dict(pictures=0.4, text=0.05, both=0.1))
    config.train_text = False
    config.sampling.steps = 10
    config.loader.seed = config.train.seed = 5
    config.train.total_steps = config.train.optimizer.total_steps = STEPS
    config.train.validate_every = STEPS
    config.train.checkpoint_every = STEPS // 8
    config.train.sample_every = 0
    config.train.optimizer.method = "adamw"
    # What AlcheMinT adds stays as it is, too: a LoRA does not hold it.
    config.train.optimizer.groups = (("lora", RATE), ("added", 0.0))
    config.train.optimizer.warmup_steps = 20
    config.train.optimizer.weight_decay = 0.0
    config.train.optimizer.ema_decay = 0.98
    return config.lock()
