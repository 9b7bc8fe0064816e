r"""The sprites model with cuts: it is told when another shot begins, and makes none elsewhere.

After MinT, arXiv 2412.05263, section 3, which trains on clips with cuts and tells the network where
they are, so that it does not make any by itself. Hardware: 2 CPU cores. Commands:

    alchemint data sprites --out data/sprites_cuts --clips 640 --events --cuts
    alchemint data encode --data data/sprites_cuts --vae sprites --out data/sprites_cuts_latents
    alchemint train --config configs/sprites_cuts.py --workdir runs/sprites_cuts
    python -m studies.cuts --model runs/sprites_cuts/export --limit 20 --steps 8 --batch 20 \
        --out runs/sprites_cuts.json --figure runs/sprites_cuts.svg

On Linux, `. launch/env_cpu.sh` before all of this makes it faster. The model is then in
runs/sprites_cuts/export.

It starts from the bundled model with events (sprites/events), whose branch of events gets the
vector of a cut. Half of the clips have cuts; MinT has them in a fifth of far more. It was run as it
stands here: docs/results/sprites_cuts_training.jsonl is its curve, and docs/encodings/rerope.md
says what it does.
"""

from pathlib import Path

from ml_collections import ConfigDict

from alchemint_jax.train.config import load_config

STEPS = 320


def get_config() -> ConfigDict:
    config = load_config(f"{Path(__file__).with_name('sprites_events.py')}:second").unlock()
    config.data = "data/sprites_cuts_latents"
    config.init_from = "sprites/events"
    config.model.cuts = True
    config.loader.seed = config.train.seed = 4
    config.train.total_steps = config.train.optimizer.total_steps = STEPS
    config.train.checkpoint_every = STEPS // 4
    config.train.optimizer.warmup_steps = STEPS // 10
    return config.lock()
