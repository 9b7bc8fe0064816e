r"""One arm of the study of interval schemes: clips, on a small budget, with one thing changed.

Hardware: 2 CPU cores. Command, for one arm, after those of configs/sprites.py up to `data encode`
of clips:

    alchemint train --config configs/sprites_schemes.py:FittedRope \
        --workdir runs/schemes/FittedRope-0

All arms, several seeds, and their comparison, resumable at any point:

    python -m alchemint_jax.evaluate.study --workdir runs/schemes \
        --out docs/results/schemes.json --figure docs/results/schemes.svg

Arms start from the model that was trained on pictures, where every subject is on screen and no
scheme has anything to say; only WeRope-shifted has to learn anew where references lie. Two arms
have other parameters, and so pictures of their own to start from:

    for arm in no_tags no_index; do
        alchemint train --config configs/sprites_schemes.py:pictures_$arm \
            --workdir runs/sprites_pictures_$arm
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
START = {"FittedRope-no-tags": "pictures_no_tags", "FittedRope-no-index": "pictures_no_index"}


def get_config(arm: str = "WeRope") -> ConfigDict:
    if arm not in ARMS | PICTURES:
        raise ValueError(f"no arm {arm!r}; there are {', '.join(ARMS | PICTURES)}")
    stage = "pictures" if arm in PICTURES else "clips"
    config = load_config(f"{Path(__file__).with_name('sprites.py')}:{stage}").unlock()
    for field, value in (ARMS | PICTURES)[arm].items():
        config.model[field] = ConfigDict(value) if isinstance(value, dict) else value
    if arm in PICTURES:
        return config.lock()
    config.init_from = f"runs/sprites_{START.get(arm, 'pictures')}/export"
    config.train.total_steps = config.train.optimizer.total_steps = 400
    config.train.validate_every = 200
    config.train.sample_every = 0
    config.train.checkpoint_every = 200
    return config.lock()
