r"""The sprites model with events: dense captions say that a subject turns another colour, and when.

Hardware: 2 CPU cores. Commands:

    alchemint data sprites --out data/sprites_events --clips 2400 --events
    alchemint data encode --data data/sprites_events --vae sprites \
        --out data/sprites_events_latents
    alchemint train --config configs/sprites_events.py:first --workdir runs/sprites_events_first
    alchemint train --config configs/sprites_events.py:second --workdir runs/sprites_events
    python -m studies.events --model runs/sprites_events/export \
        --limit 32 --steps 8 --batch 8 --out runs/sprites_events.json \
        --figure runs/sprites_events.svg

On Linux, `. launch/env_cpu.sh` before all of this makes it faster. The model is then in
runs/sprites_events/export.

It starts from the bundled model, and since the output of the new branch (the cross-attention to
events, timed by ReRoPE) is zero at first, it is that model at step 0. The text encoder, which knows
the names of colours from captions, stays as it is. The backbone moves too: it has to let colours
change within a clip.
"""

from pathlib import Path

from ml_collections import ConfigDict

from alchemint_jax.train.config import load_config

STAGES = {
    "first": dict(init_from="sprites", steps=480, seed=2),
    "second": dict(init_from="runs/sprites_events_first/export", steps=560, seed=3),
}


def get_config(stage: str = "second") -> ConfigDict:
    if stage not in STAGES:
        raise ValueError(f"no stage {stage!r}; there are {', '.join(STAGES)}")
    steps, seed = STAGES[stage]["steps"], STAGES[stage]["seed"]
    config = load_config(f"{Path(__file__).with_name('sprites.py')}:clips").unlock()
    config.data = "data/sprites_events_latents"
    config.vae = "sprites"
    config.init_from = STAGES[stage]["init_from"]
    config.model.events = True
    config.train_text = False
    config.sampling.event_length = 32  # "the purple cross turns yellow" is 30 with its end
    # v0 + 3 (vI - v0) + 6 (vIT - vI): pictures show subjects as they are without their events, and
    # would mostly prevail.
    config.sampling.guidance = dict(text=0.0, image=-3.0, both=6.0)
    # Events matter where noise hides the colours of a clip.
    config.shift = 6.0
    config.loader.batch_size = 4
    config.loader.seed = config.train.seed = seed
    config.train.total_steps = config.train.optimizer.total_steps = steps
    config.train.validate_every = 0
    config.train.checkpoint_every = steps // 8
    config.train.sample_every = 0
    config.train.optimizer.groups = (("backbone", 4e-3), ("added", 1e-2))
    return config.lock()
