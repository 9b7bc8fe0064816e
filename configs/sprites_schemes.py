r"""One arm of the study of interval schemes: clips, on a small budget, with one thing changed.

Hardware: 2 CPU cores. Commands, for one arm:

    alchemint data sprites --out data/sprites --clips 8000
    alchemint data encode --data data/sprites --vae sprites --out data/schemes_latents
    alchemint train --config configs/sprites_schemes.py:FittedRope \
        --workdir runs/schemes/FittedRope-0

All arms, several seeds, and their comparison, resumable at any point:

    python -m studies.schemes --workdir runs/schemes --rows runs/schemes.jsonl \
        --out runs/schemes.json --figure runs/schemes.svg

Arms start from the first stage of the bundled model (sprites/pictures): in pictures every subject
is on screen, and no scheme has anything to say; only WeRope-shifted has to relearn where
references lie. Two arms do without a part of the model. They get used to that in pictures first,
600 steps that the others do not have: what they lose then is not for want of training (compare them
with `--baseline FittedRope`):

    alchemint data sprites --out data/sprites_pictures --clips 32000 --frames 1
    alchemint data encode --data data/sprites_pictures --vae sprites \
        --out data/schemes_pictures_latents
    for stage in pictures_no_tags pictures_no_index; do
        alchemint train --config configs/sprites_schemes.py:$stage --workdir runs/schemes_$stage
    done

Arms with one seed see the same data in the same order.
"""

from pathlib import Path

from ml_collections import ConfigDict

from alchemint_jax.train.config import load_config

PICTURES = {
    "pictures_no_tags": dict(tags=False),
    "pictures_no_index": dict(index=False),
}
ARMS = {
    "NoInterval": dict(scheme=dict(name="NoInterval")),
    "MidRope": dict(scheme=dict(name="MidRope")),
    "WeRope": dict(scheme=dict(name="WeRope")),
    "WeRope-printed": dict(scheme=dict(name="WeRope", right="printed")),
    "WeRope-keys": dict(scheme=dict(name="WeRope"), mix_queries=False),
    "WeRope-shifted": dict(
        scheme=dict(name="WeRope"), layout=dict(name="ReferenceLayout", shift_hw=True)
    ),
    "SincRope": dict(scheme=dict(name="SincRope")),
    "FittedRope": dict(scheme=dict(name="FittedRope")),
    "FittedRope-no-tags": dict(scheme=dict(name="FittedRope"), tags=False),
    "FittedRope-no-index": dict(scheme=dict(name="FittedRope"), index=False),
}
START = {
    "FittedRope-no-tags": "runs/schemes_pictures_no_tags/export",
    "FittedRope-no-index": "runs/schemes_pictures_no_index/export",
}


def get_config(arm: str = "WeRope") -> ConfigDict:
    if arm not in ARMS | PICTURES:
        raise ValueError(f"no arm {arm!r}; there are {', '.join(ARMS | PICTURES)}")
    stage = "pictures" if arm in PICTURES else "clips"
    config = load_config(f"{Path(__file__).with_name('sprites.py')}:{stage}").unlock()
    for field, value in (ARMS | PICTURES)[arm].items():
        config.model[field] = ConfigDict(value) if isinstance(value, dict) else value
    # Latents of the bundled autoencoder, not of the one that configs/sprites.py trains.
    config.data = "data/schemes_pictures_latents" if arm in PICTURES else "data/schemes_latents"
    config.vae = "sprites"
    config.init_from = START.get(arm, "sprites/pictures")
    if arm in PICTURES:
        groups = config.train.optimizer.groups
        config.train.optimizer.groups = tuple((name, rate / 2) for name, rate in groups)
        return _budget(config, 600)
    config.sampling.steps = 10  # a quarter of the bundled model's: an arm is for comparison only
    return _budget(config, 400)


def _budget(config: ConfigDict, steps: int) -> ConfigDict:
    config.train.total_steps = config.train.optimizer.total_steps = steps
    config.train.validate_every = steps // 4
    config.train.checkpoint_every = steps // 8
    config.train.sample_every = 0
    return config.lock()
