r"""One arm of the ablation of R-RoPE on sprites: where references lie that have no time.

After table 5 of Kaleido, arXiv 2510.18573, which compares where references lie beside the video, by
how well subjects keep their looks. Hardware: 2 CPU cores. Commands, for one arm:

    alchemint data sprites --out data/sprites_places --clips 4000 --frames 1
    alchemint data encode --data data/sprites_places --vae sprites --out data/places_latents
    python -m studies.redrawn --model sprites/pictures --out runs/rrope/start
    alchemint train --config configs/sprites_rrope.py:first --workdir runs/rrope/first

All arms and their comparison, resumable at any point:

    python -m studies.reference_places --workdir runs/rrope \
        --out runs/rrope.json --figure runs/rrope.svg

What is trained and compared are pictures, clips of one frame: they show who is who, and cost a
fraction. The first stage of the bundled model (sprites/pictures) has its references on top of the
picture, at its time, and an arm that starts from it is the better the nearer it is to that. So
queries and keys of self-attention, all that rotary gains turn, are drawn afresh, once for all arms:
this start knows how subjects look, and favours no place. The embedding of each slot is left out,
which Kaleido does not have, so that places alone tell references apart.
Arms, and what Kaleido calls them:

- first: R-RoPE, at times 0, 1, 2, with rows and columns beyond the video (ShiftW&H)
- last: the same places, but at the times after the video
- shift-w: as first, but columns alone are beyond the video (ShiftW)
- shift-h: as first, but rows alone are (ShiftH)
- apart: as first, but each reference is beyond the one before (w/o overlap)
- overlapping: at times 0, 1, 2 on top of the video (Concat)
- before: at times -3, -2, -1 on top of the video
- at-once: all at time -1, on top of the video
- future: at times after the video, on top of it, as Phantom's are

Concatenation along channels, which the paper has too, is no layout, and there is no arm for it.
"""

from pathlib import Path

from ml_collections import ConfigDict

from alchemint_jax.train.config import load_config

BEYOND = dict(shift_hw=True, slot_times=(0, 1, 2))
ARMS = {
    "first": BEYOND,
    "last": dict(BEYOND, after_video=True),
    "shift-w": dict(BEYOND, offset=(0, 8)),  # of the 8 rows and 8 columns of a frame's patches
    "shift-h": dict(BEYOND, offset=(8, 0)),
    "apart": dict(BEYOND, stagger=True),
    "overlapping": dict(slot_times=(0, 1, 2)),
    "before": dict(slot_times=(-3, -2, -1)),
    "at-once": dict(slot_times=(-1, -1, -1)),
    "future": dict(slot_times=(0, 1, 2), after_video=True),
}
STEPS = 260


def get_config(arm: str = "first") -> ConfigDict:
    if arm not in ARMS:
        raise ValueError(f"no arm {arm!r}; there are {', '.join(ARMS)}")
    config = load_config(f"{Path(__file__).with_name('sprites.py')}:pictures").unlock()
    config.data = "data/places_latents"
    config.vae = "sprites"
    config.init_from = "runs/rrope/start"
    config.model.index = False
    config.model.scheme = dict(name="NoInterval")
    config.model.layout = dict(name="ReferenceLayout", **ARMS[arm])
    config.model.unroll = 1  # a program for each arm: to compile them would take longest
    config.train_text = False
    config.loader.batch_size = 12
    config.sampling.steps = 10
    config.train.total_steps = config.train.optimizer.total_steps = STEPS
    config.train.validate_every = config.train.sample_every = 0
    config.train.checkpoint_every = STEPS // 2
    config.train.optimizer.warmup_steps = STEPS // 10
    config.train.optimizer.groups = (("backbone", 1e-2), ("added", 1e-2))
    return config.lock()
